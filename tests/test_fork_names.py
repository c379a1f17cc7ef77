"""The table of forks is right about what is Caffe's and what is not."""

from collections.abc import Iterator

import pytest

from netspec import forks
from netspec.schema import netspec_pb2

OURS = {("DataParameter", "shuffle"), ("DataParameter", "cache"), ("SolverParameter", "snapshot_keep"),
        ("SolverState", "run"), ("SolverState", "checksum")}  # fmt: skip
"""Fields that are netspec's own."""


def added_fields() -> Iterator[tuple[str, str]]:
    """Message and name of every field that Caffe does not have, in messages that it has."""
    for message in netspec_pb2.DESCRIPTOR.message_types_by_name.values():
        yield from ((message.name, field.name) for field in message.fields if field.number >= 10_000)


def test_every_added_field_is_ours_or_a_forks() -> None:
    """A field that Caffe does not have is our own, or the table names its fork."""
    for message, name in added_fields():
        assert bool(forks.of_field(message, name)) != ((message, name) in OURS), f"{message}.{name}"


@pytest.mark.parametrize(
    ("message", "name"),
    [("ReLUParameter", "engine"), ("ConvolutionParameter", "bias_filler"), ("LayerParameter", "name")],
)
def test_a_field_of_caffe_has_no_fork(message: str, name: str) -> None:
    """A name that a fork uses elsewhere is not taken for the fork's."""
    assert forks.of_field(message, name) == ""


def test_a_field_of_caffe_is_in_no_table() -> None:
    """No name that stands in the table without its message is one of Caffe's."""
    messages = netspec_pb2.DESCRIPTOR.message_types_by_name.values()
    caffes = {(message.name, field.name) for message in messages for field in message.fields if field.number < 10_000}
    caffes = {name for message, name in caffes if message not in FORK_MESSAGES}
    assert not caffes & set(forks.FIELDS)


FORK_MESSAGES = {"BNParameter", "InterpParameter", "NormalizeParameter", "PermuteParameter", "ROIPoolingParameter",
                 "ShuffleChannelParameter", "SmoothL1LossParameter", "UpsampleParameter"}  # fmt: skip


def test_a_name_stands_under_one_fork() -> None:
    """No table names a thing twice."""
    for table, by_name in ((forks._TYPES, forks.TYPES), (forks._FIELDS, forks.FIELDS), (forks._VALUES, forks.VALUES)):
        assert sum(len(names.split()) for names in table.values()) == len(by_name)


def test_origin() -> None:
    """A message says where something unknown comes from, where that is known."""
    assert forks.origin(forks.TYPES["PriorBox"]) == ": it comes from SSD's fork of Caffe"
    assert forks.origin("") == ""
