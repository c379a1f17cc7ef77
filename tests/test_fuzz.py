"""Thousands of wrong texts: each is taken or refused with a short message that points into it."""

import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import pytest
import torch
from mutants import layer, mutant

from netspec import SpecError, read_net
from netspec.blobs import allocate
from netspec.compiler import compile_graph
from netspec.costs import check_memory, own_blobs
from netspec.graph import build, net_state
from netspec.layers.sources import SOURCE_TYPES
from netspec.schema.netspec_pb2 import NetParameter, SolverParameter
from netspec.solver.check import check_solver
from netspec.spec import parse
from netspec.upgrade import net_document, solver_document

TESTS = Path(__file__).parent
FILES = [*(TESTS.parent / "zoo").glob("*.prototxt"), *(TESTS.parent / "solvers").glob("*.solver"),
         *(TESTS / "upgrade").glob("*.old.*")]  # fmt: skip
TEXTS = [(path.read_text(), path.suffix) for path in sorted(FILES)]

MUTANTS, RANDOM_NETS, BATCHES = 16_000, 4_000, 8
BOMB_BYTES = 200_000_000

INPUTS = """\
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 8, 6] } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer {
  name: "sequence" type: "Input" top: "sequence" top: "cont"
  input_param { shape { dim: [4, 2, 5] } shape { dim: [4, 2] } }
}
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 5 } }
"""

CPU, FILLED = torch.device("cpu"), 10_000


def check_net(text: str, phase: str = "TEST", opened: bool = False) -> None:
    """All that `Net` does with a text before it allocates, and the filling of small blobs. Data layers are opened on
    demand; else their tops have some shape."""
    graph = build(net_document(parse(text, NetParameter, "a.prototxt")), net_state(phase))
    sources = [node for node in graph.nodes if node.param.type in SOURCE_TYPES and not opened]
    shapes = {top: (2,) if index else (2, 3, 64, 64) for node in sources for index, top in enumerate(node.tops)}
    compiled = compile_graph(graph, shapes)
    for _, source in compiled.sources:
        source.close()
    check_memory(compiled, CPU)
    if sum(blob.numel() for _, blob in own_blobs(compiled)) < FILLED:
        allocate(compiled, CPU, {})


def check_solver_text(text: str) -> None:
    """All that `Solver` does with its own text."""
    check_solver(solver_document(parse(text, SolverParameter, "a.solver")))


def refused(check: Callable[[], None], text: str) -> bool:
    """Whether a text is refused; AssertionError, with its beginning, where it is not as an error shall be."""
    shown, error = text[:5000], None
    try:
        check()
    except SpecError as caught:
        error = caught
    except Exception as caught:
        raise AssertionError(f"{caught!r} from the text\n{shown}") from caught
    if error is not None:
        message, lines = str(error), text.split("\n")
        assert len(message) < 300, f"{message}\n{shown}"
        assert message.replace("\n", "").isprintable(), f"{message!r}\n{shown}"
        assert 1 <= error.line <= len(lines), f"{message}\n{shown}"
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1, f"{message}\n{shown}"
    return error is not None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_mutant_is_taken_or_refused(batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is done to the files of the zoo, to solvers and to older dialects, they are built, or refused well."""
    monkeypatch.chdir(tmp_path)
    random, count = Random(batch), 0
    for index in range(MUTANTS // BATCHES):
        text, kind = TEXTS[index % len(TEXTS)]
        text = mutant(random, text)
        if kind == ".solver":
            count += refused(partial(check_solver_text, text), text)
        else:
            phase, opened = random.choice(["TRAIN", "TEST"]), random.random() < 0.2
            count += refused(partial(check_net, text, phase, opened), text)
    assert MUTANTS // BATCHES * 0.5 < count < MUTANTS // BATCHES


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_random_net_is_taken_or_refused(batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of every type with fields of any value are built, or refused well."""
    monkeypatch.chdir(tmp_path)
    random, count = Random(batch), 0
    for _ in range(RANDOM_NETS // BATCHES):
        text = INPUTS
        for _ in range(random.choice([1, 1, 2, 3])):
            text += layer(random, text) + "\n"
        count += refused(partial(check_net, text, random.choice(["TRAIN", "TEST"])), text)
    assert RANDOM_NETS // BATCHES * 0.3 < count < RANDOM_NETS // BATCHES


# --- bombs ------------------------------------------------------------------------------------------------------------

RELU = 'layer { name: "r" type: "ReLU" bottom: "data" top: "data" }\n'
INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 1] } } }\n'

BOMBS = {
    "deep": "layer { " * 10_000,
    "deep_and_closed": "net_param { " * 10_000 + "}" * 10_000,
    "closing_braces": "}" * 1_000_000,
    "lists_in_lists": "layer: " + "[" * 100_000,
    "long_list": f"input_dim: [{', '.join(['1'] * 1_000_000)}]",
    "long_field_list": "input_dim: 1\n" * 100_000,
    "one_line": 'name: "' + "x" * 10_000_000 + '"',
    "one_wrong_line": "x" * 10_000_000,
    "spaces": " " * 10_000_000,
    "comments": "# a comment\n" * 1_000_000,
    "newlines": "\n" * 1_000_000 + "x",
    "quotes": "'" * 1_000_000,
    "backslashes": 'name: "' + "\\" * 1_000_000,
    "open_quotes": "'\\" * 100_000,
    "long_string": 'name: "' + "x" * 900_000 + '"',
    "word_and_newlines": "x" + "\n" * 1_000_000 + "y",
    "octals": "input_dim: [\n" + "00,\n" * 100_000 + "0]",
    "variables": "$" * 1_000_000,
    "variables_and_quotes": "$" + "'\\" * 100_000,
    "nul": "\0" * 1_000_000,
    "long_number": f"input_dim: {'9' * 1_000_000}",
    "unknown_type": INPUT + RELU * 3_000 + RELU.replace("ReLU", "Relu"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_taken_or_refused(name: str) -> None:
    """A text of hostile size takes little memory, and an end."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(partial(check_net, BOMBS[name]), BOMBS[name])
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < BOMB_BYTES


@pytest.mark.parametrize("content", ['name: "x"'.encode("utf-16"), b"\x80" * 1_000_000, b"PK\3\4", b"\0"])
def test_a_file_of_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    """UTF-16, noise and archives are refused."""
    (tmp_path / "a.prototxt").write_bytes(content)
    with pytest.raises(SpecError):
        read_net(tmp_path / "a.prototxt")
