"""What the classes of a net are called, each by a line such as "n02123045 tabby, tabby cat"."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from netspec.data.captions import lines_at
from netspec.errors import DataError
from netspec.log import logger
from netspec.schema.netspec_pb2 import LayerParameter


def read_names(path: Path, classes: int) -> tuple[str, ...]:
    """The names in a text, a class a line (labels.txt, synset_words.txt); DataError where there are not so many."""
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except OSError as error:
        raise DataError(f"{path}: the names of the classes cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} holds no names of classes: it is not text in UTF-8") from None
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) != classes:
        raise DataError(f"{path}: {len(lines)} names, but the net scores {classes} classes")
    return tuple(lines)


def known_names(data: Iterable[LayerParameter], find: Callable[[str], Path], classes: int) -> tuple[str, ...]:
    """The names that lie with the data of one of some layers, the first that has not more than there are `classes`: the
    labels.txt beside a database or a list, the classes of a folder, by the words.txt beside it in words; else none.
    Classes without a name, where a net is trained on a part of them, are called by their numbers."""
    sources = dict.fromkeys(param.data_param.source or param.image_data_param.source for param in data)
    for source in filter(None, sources):
        with suppress(DataError):
            names = lines_at(find(source))
            if len(names) > classes:
                logger.warning("%s: %d names of classes, the net scores %d: not used", source, len(names), classes)
            elif names:
                return (*names, *map(str, range(len(names), classes)))
    return ()
