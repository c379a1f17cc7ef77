#!/usr/bin/env python3
"""Damages images, databases and HDF5 files by the thousand and looks at what is said of them.

Each case runs in a process of its own. None may die of a signal, hang, or end in anything but a DataError, which names
the file and the record, or in what it would have read without the damage.
"""

import argparse
import io
import logging
import os
import resource
import signal
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random

import h5py
import numpy as np
from google.protobuf import text_format
from PIL import Image

from netspec.data.datum import decode, encoded_datum
from netspec.data.lmdb_store import write_lmdb
from netspec.errors import DataError
from netspec.layers.sources import SOURCE_TYPES, SourceContext
from netspec.schema.netspec_pb2 import TEST, LayerParameter

SHAPE = (3, 24, 20)
SECONDS = 120
BOMB_MIB = 64
"""How much memory, in MiB, the refusal of a bomb may take."""


def jpegs(random: Random, count: int) -> Iterator[bytes]:
    """Small JPEGs, every third one progressive, every fifth one grey."""
    noise = np.random.default_rng(random.randrange(1 << 30))
    for index in range(count):
        pixels = noise.integers(0, 256, (6, 5, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        file, picture = io.BytesIO(), Image.fromarray(pixels)
        (picture if index % 5 else picture.convert("L")).save(file, "JPEG", progressive=index % 3 == 0)
        yield file.getvalue()


def torn(random: Random, data: bytes) -> bytes:
    """A file with one to three accidents: cut, changed, left out, doubled, or with zeros or another's bytes in it."""
    content = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 3])):
        place, length = random.randrange(len(content)), random.choice([1, 1, 2, 16, 200])
        kind = random.randrange(6)
        if kind == 0:
            del content[max(place, 1) :]
        elif kind == 1:
            content[place] = random.randrange(256)
        elif kind == 2:
            content[place] ^= 1 << random.randrange(8)
        elif kind == 3 and len(content) > length:
            del content[place : place + length]
        elif kind == 4:
            content[place:place] = content[place : place + length]
        else:
            content[place : place + length] = bytes(len(content[place : place + length]))
    return bytes(content)


def bombs() -> dict[str, bytes]:
    """Small files whose headers claim images that would fill the memory."""
    made = {}
    for form in ("JPEG", "PNG", "BMP"):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, form)
        made[form] = file.getvalue()
    frame = made["JPEG"].index(b"\xff\xc0") + 5
    made["JPEG"] = made["JPEG"][:frame] + struct.pack(">HH", 65000, 65000) + made["JPEG"][frame + 4 :]
    header = b"IHDR" + struct.pack(">II", 60000, 60000) + made["PNG"][24:29]
    made["PNG"] = made["PNG"][:12] + header + struct.pack(">I", zlib.crc32(header)) + made["PNG"][33:]
    made["BMP"] = made["BMP"][:18] + struct.pack("<ii", 40000, 40000) + made["BMP"][26:]
    return made


def alone(work: Callable[[], str]) -> str:
    """What a piece of work says in a process of its own, or what that died of."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        try:
            said = work()
        except DataError as error:
            said = f"DataError: {error}"
        except BaseException as error:
            said = f"{type(error).__name__}, not a DataError: {error}"
        os.write(writer, said.encode(errors="replace")[:60000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return f"died of signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else said


def a_pass(fields: str) -> list[int]:
    """The labels of a whole pass over a data layer."""
    param = text_format.Parse(f'name: "data" top: "data" top: "label" {fields}', LayerParameter())
    source = SOURCE_TYPES[param.type](param, SourceContext(TEST))
    return [int(label) for tops in source.once() for label in tops[1].tolist()]


def is_damaged(data: bytes) -> bool:
    """Whether an image alone cannot be decoded."""
    try:
        decode(encoded_datum(data, 0), True)
    except DataError:
        return True
    return False


class Said(logging.Handler):
    """What is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def check_skipping(fields: str, names: Sequence[str], damaged: Sequence[int]) -> str:
    """Whether exactly the damaged records of a set are left out, and named; with one fewer, or none, to be skipped the
    last one, or the first, must be named in an error. `fields` has the number to skip as {}."""
    said = Said()
    logging.getLogger("netspec").addHandler(said)
    logging.getLogger("netspec").propagate = False
    sound = [index for index in range(len(names)) if index not in set(damaged)]
    if a_pass(fields.format(len(damaged))) != sound:
        return "other records than the sound ones came"
    lines = [line for line in said.lines if "left out" in line]
    if len(lines) != len(damaged) or not all(names[i] in line for i, line in zip(damaged, lines, strict=True)):
        return "not every record that was left out was named"
    for skip, wanted in ((len(damaged) - 1, names[damaged[-1]]), (0, names[damaged[0]])):
        try:
            a_pass(fields.format(skip))
            return f"skip_damaged: {skip} was no limit"
        except DataError as error:
            if wanted not in str(error):
                return f"skip_damaged: {skip} did not name {wanted}: {error}"
    return "as it should be"


def check_images(folder: Path, random: Random, count: int) -> dict[str, str]:
    """Sets of image files and of Datums, of `count` torn JPEGs each and some whole ones."""
    images = [data if random.random() < 0.1 else torn(random, data) for data in jpegs(random, count + count // 9)]
    for index, data in enumerate(images):
        (folder / f"{index}.jpg").write_bytes(data)
    (folder / "list").write_text("".join(f"{index}.jpg {index}\n" for index in range(len(images))))
    damaged = [index for index, data in enumerate(images) if is_damaged(data)]
    print(f"{len(images)} images, {len(damaged)} of them cannot be decoded")
    root = f'source: "{folder}/list" root_folder: "{folder}/" new_height: 8 new_width: 8'
    fields = f'type: "ImageData" image_data_param {{{{ {root} batch_size: 64 skip_damaged: {{}} }}}}'
    files = partial(check_skipping, fields, [f"line {i + 1} ({i}.jpg)" for i in range(len(images))], damaged)
    alike = [data for data in images if is_damaged(data) or decode(encoded_datum(data, 0), True).shape == SHAPE]
    write_lmdb(folder / "db", ((b"%08d" % i, encoded_datum(d, i).SerializeToString()) for i, d in enumerate(alike)))
    names = [f"record {i} (key '{i:08}')" for i in range(len(alike))]
    fields = f'type: "Data" data_param {{{{ source: "{folder}/db" batch_size: 64 skip_damaged: {{}} }}}}'
    fields += " transform_param {{ force_color: true }}"
    datums = partial(check_skipping, fields, names, [i for i, data in enumerate(alike) if is_damaged(data)])
    return {"image files": alone(files), "Datums": alone(datums)}


def check_bomb(folder: Path, form: str, data: bytes) -> str:
    """Whether a bomb is refused by its size, before memory is taken for it."""
    (folder / "bomb").write_bytes(data)
    (folder / "bombs").write_text(f"{folder}/bomb 0\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        a_pass(f'type: "ImageData" image_data_param {{ source: "{folder}/bombs" }}')
        return f"a {form} bomb was decoded"
    except DataError as error:
        taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        if "limit of" not in str(error) or "line 1" not in str(error) or taken > BOMB_MIB:
            return f"a {form} bomb took {taken:.0f} MiB: {error}"
    return "as it should be"


def check_stores(folder: Path, random: Random, count: int) -> Counter[str]:
    """LMDBs and HDF5 files, cut anywhere, which must be refused when they are opened, and HDF5 files with bytes
    changed, of which some still read."""
    write_lmdb(folder / "whole", ((b"%08d" % i, encoded_datum(d, i).SerializeToString())
                                  for i, d in enumerate(jpegs(random, 60))))  # fmt: skip
    with h5py.File(folder / "rows", "w") as file:
        file["data"], file["label"] = np.random.default_rng(0).random((60, 4, 4)), np.arange(60) % 7
    (folder / "files").write_text(f"{folder}/case\n")
    size = "batch_size: 8 }"
    kinds = {
        "LMDB": (folder / "whole" / "data.mdb", f'type: "Data" data_param {{ source: "{folder}/case" {size}'),
        "HDF5": (folder / "rows", f'type: "HDF5Data" hdf5_data_param {{ source: "{folder}/files" {size}'),
    }
    result: Counter[str] = Counter()
    for name, (file, fields) in kinds.items():
        content = file.read_bytes()
        for _ in range(count):
            (folder / "case").write_bytes(content[: random.randrange(len(content))])
            result[f"{name} cut: {_kind(alone(partial(_read, fields)), folder / 'case')}"] += 1
    for _ in range(count):
        changed = bytearray(content)
        changed[random.randrange(len(content))] = random.randrange(256)
        (folder / "case").write_bytes(changed)
        result[f"HDF5 changed: {_kind(alone(partial(_read, fields)), folder / 'case')}"] += 1
    return result


def _read(fields: str) -> str:
    return f"read {len(a_pass(fields))} records"


def _kind(said: str, file: Path) -> str:
    if said.startswith("DataError"):
        return "refused" if str(file) in said else f"refused without its name: {said}"
    return "read" if said.startswith("read") else said


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="torn JPEGs (%(default)s)")
    parser.add_argument("--stores", type=int, default=200, help="stores of each kind (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    random, wrong = Random(options.seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        said = check_images(folder, random, options.images)
        for form, data in bombs().items():
            said[f"{form} bomb"] = alone(partial(check_bomb, folder, form, data))
        for case, what in said.items():
            print(f"{case}: {what}")
            wrong += what != "as it should be"
        for what, times in sorted(check_stores(folder, random, options.stores).items()):
            print(f"{what}: {times}")
            wrong += what not in (
                "LMDB cut: refused",
                "HDF5 cut: refused",
                "HDF5 changed: refused",
                "HDF5 changed: read",
            )
    print(f"{wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
