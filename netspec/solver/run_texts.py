"""The texts of a run as it runs: upgraded, variables filled, every setting in force."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from google.protobuf.message import Message

from netspec.net import Net
from netspec.schema.netspec_pb2 import NetParameter, SolverParameter
from netspec.solver.run_folder import HEAD, NET, SOLVER, RunFolder
from netspec.spec import Document, to_text
from netspec.weights import file_names

_NETS = ("net", "net_param", "train_net", "train_net_param")
_TEST_NETS = ("test_net", "test_net_param")
_FILES = ("source", "mean_file", "root_folder")
"""The fields of layers that name what is read."""


def resolved_texts(
    document: Document[SolverParameter],
    names: RunFolder,
    prefix: str,
    seed: int,
    train_net: Net,
    test_nets: Sequence[Net],
) -> dict[str, str]:
    """The texts of a run by the names of their files; a run of this solver.prototxt is the same run again.

    All nets are one file, net.prototxt, unless a setting is for one phase, or the solver names several.
    """
    train, *tests = (to_text(_found(net.graph.document)) for net in (train_net, *test_nets))
    texts = {train: NET}
    for test in tests:
        texts.setdefault(test, f"test_{len(texts)}_{NET}")
    solver, resolved = document.message, _resolved(document, prefix, seed, train_net.device)
    for field in _NETS:
        resolved.ClearField(field)
    # How many test nets `net` stands for is counted by test_iter, so it cannot stand beside others.
    one = len(texts) == 1 and not any(getattr(solver, field) for field in _TEST_NETS)
    if one and (solver.HasField("net") or solver.HasField("net_param")):
        resolved.net = str(names.file(NET))
    else:
        resolved.train_net = str(names.file(NET))
        if tests:
            resolved.ClearField("test_net_param")
            resolved.test_net[:] = [str(names.file(texts[test])) for test in tests]
    of = f"{HEAD} for the run {prefix}"
    files = {name: f"{of}: a net, with all settings.\n{text}" for text, name in texts.items()}
    return files | {SOLVER: f"{of}: its solver, with all settings.\n{to_text(resolved)}"}


def _resolved(document: Document[SolverParameter], prefix: str, seed: int, device: torch.device) -> SolverParameter:
    """A copy of a solver with what was chosen for it: where the snapshots go, the seed, the device."""
    resolved = SolverParameter()
    resolved.CopyFrom(document.message)
    resolved.snapshot_prefix, resolved.random_seed = prefix, seed
    resolved.weights[:] = [
        ",".join(str(document.find(name)) for name in file_names(text)) for text in document.message.weights
    ]
    resolved.solver_mode = SolverParameter.CPU if device.type == "cpu" else SolverParameter.GPU
    if device.index is not None:
        resolved.device_id = device.index
    return resolved


def _found(document: Document[NetParameter]) -> NetParameter:
    """A copy of a net in which files that were found from the text's own folder have their paths from here."""
    net = NetParameter()
    net.CopyFrom(document.message)
    for message, field, name in _file_fields(net):
        if not Path(name).exists() and document.find(name).exists():
            setattr(message, field, str(document.find(name)) + "/" * name.endswith("/"))
    return net


def _file_fields(message: Message) -> Iterator[tuple[Message, str, str]]:
    """The fields inside a message that name files, each with the message that it stands in."""
    for field, value in message.ListFields():
        values: Any = [value] if isinstance(value, (Message, str)) else value
        if field.name in _FILES:
            yield message, field.name, value
        elif field.type == field.TYPE_MESSAGE:
            for inner in values:
                yield from _file_fields(inner)
