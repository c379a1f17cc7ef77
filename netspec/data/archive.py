"""What lies in archives and folders, read without unpacking."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from netspec.errors import DataError


def members(sources: Sequence[Path], single: Sequence[str] = ()) -> Iterator[tuple[str, bytes]]:
    """Every file of some folders and archives (zip, tar), as (path, bytes), each archive in its own order.

    A source whose name is one of `single` is such a file itself, and files of these names come unpacked where they end
    in .gz. DataError where a source cannot be read.
    """
    for source in sources:
        try:
            for name, data in _files(source, single):
                packed = Path(name).name in single and name.endswith(".gz")
                yield name, gzip.decompress(data) if packed else data
        # zipfile's RuntimeError: a password, or a kind of packing that it does not know
        except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise DataError(f"{source}: cannot be read as a zip, a tar or a folder: {error}") from None


def _files(source: Path, single: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file():
                yield path.as_posix(), path.read_bytes()
    elif source.name in single:
        yield source.name, source.read_bytes()
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for name in tqdm(archive.namelist(), desc=f"read {source.name}", unit="file"):
                if not name.endswith("/"):
                    yield name, archive.read(name)
    else:
        with tarfile.open(source, "r|*") as tar:
            for member in tqdm(tar, desc=f"read {source.name}", unit="file"):
                if (file := tar.extractfile(member)) is not None:
                    yield member.name, file.read()
