"""What the classes of a net are called, each by a line such as "n02123045 tabby, tabby cat"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from netspec.data.captions import WNID, in_short, lines_at
from netspec.errors import DataError
from netspec.log import logger
from netspec.schema.netspec_pb2 import LayerParameter


def read_names(path: Path, classes: int) -> tuple[str, ...]:
    """The names in a text, a class a line (labels.txt, synset_words.txt); DataError where there are more. Where there
    are less, as of a net that was trained on a part of its classes, the others are called by their numbers."""
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except OSError as error:
        raise DataError(f"{path}: the names of the classes cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} holds no names of classes: it is not text in UTF-8") from None
    while lines and not lines[-1]:
        lines.pop()
    if not 0 < len(lines) <= classes:
        raise DataError(f"{path}: {len(lines)} names, but the net scores {classes} classes")
    if len(lines) < classes:
        logger.warning("%s: %d names, the net scores %d classes: the others are numbers", path, len(lines), classes)
    return _filled(lines, classes)


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
                return _filled(names, classes)
    return ()


def class_numbers(own: Sequence[str], known: Sequence[str], path: str) -> list[int]:
    """The number of each class of the set at a path among those that a net knows. Classes are told by their wnids where
    all of the set have one, else by their names in short. One that the net knows by its number alone keeps this.
    DataError where the net does not know one."""
    by_wnid = all(map(WNID.match, own)) and any(map(WNID.match, known))
    names, wanted = ([_called(line, by_wnid) for line in lines] for lines in (known, own))
    numbers = {name: number for number, name in reversed([*enumerate(names)])}
    found = []
    for number, name in enumerate(wanted):
        here = names[number] in (name, str(number))
        if not here and name not in numbers:
            some = ", ".join(f'"{line}"' for line in known[:2])
            reason = f'its class {number}, "{own[number]}", is none of the net\'s: {some} and so on'
            raise DataError(f"{path}: {reason} (--names says what the net's are)")
        found.append(numbers[name] if name in numbers and names[number] != name else number)
    return found


def _called(line: str, by_wnid: bool) -> str:
    wnid = WNID.match(line)
    return wnid[0] if by_wnid and wnid else in_short(line)


def _filled(names: Sequence[str], classes: int) -> tuple[str, ...]:
    """The names, and numbers for the rest of the classes."""
    return (*names, *map(str, range(len(names), classes)))
