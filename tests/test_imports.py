"""Imports run one way, and what is not needed is not loaded."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "netspec"

ORDER = (
    "errors", "log", "allocator", "threads", "schema", "positions", "templates", "forks", "words", "mistakes", "spec",
    "files", "upgrade", "weights", "graph", "fillers", "keywords", "builder", "params", "precision", "memory_format",
    "tracing", "layers", "machine_memory", "top_shapes", "deploy_shapes", "deploy", "columns", "inputs", "compiler",
    "forms", "costs", "blobs", "loading", "wiring", "debug_info", "net", "noise", "summary", "data", "overrides",
    "evaluate", "scores", "scoring", "evaluation", "ensemble", "timing", "solver", "batch_sheet", "curves", "plot",
    "reference", "check", "coord_map", "__init__", "tools",
)  # fmt: skip
"""Every part of the package: a module or a folder imports only from those that stand before it, and from its own
folder. Weight files know arrays only, so they stand before the net."""

FILES = [*sorted(PACKAGE.rglob("*.py")), *sorted((ROOT / "tools").glob("*.py"))]


def part(path: Path) -> str:
    """The place in the order of a file."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py") if path.is_relative_to(PACKAGE) else "tools"


def part_of(module: str, name: str) -> str:
    """The place in the order of ``from MODULE import NAME``, both absolute."""
    names = [*module.split(".")[1:], name]
    return names[0] if (PACKAGE / names[0]).is_dir() or (PACKAGE / f"{names[0]}.py").is_file() else "__init__"


def imported(path: Path) -> Iterator[str]:
    """The parts of the package that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            if node.module and node.module.split(".")[0] == "netspec":
                yield from (part_of(node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (part_of(a.name, "") for a in node.names if a.name.split(".")[0] == "netspec")


def test_every_module_has_its_place() -> None:
    """The order names all parts of the package and nothing else."""
    assert {part(path) for path in FILES} == set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    """No file imports what stands after it."""
    place = ORDER.index(part(path))
    later = {other for other in imported(path) if ORDER.index(other) > place}
    assert not later


def test_the_order_is_looked_at() -> None:
    """The check sees imports of every form."""
    assert {*imported(PACKAGE / "net.py")} >= {"compiler", "errors", "schema", "spec"}
    assert "solver" in {*imported(PACKAGE / "__init__.py")}
    assert part_of("netspec", "Net") == "__init__"
    assert part_of("netspec", "data") == part_of("netspec.data.order", "DataError") == "data"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_named_after_what_they_are(path: Path) -> None:
    """There is no drawer for whatever fits nowhere."""
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}


def run(code: str, *arguments: str) -> str:
    """What a program prints that runs in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return done.stdout.strip()


TOOLS = sorted(path.name for path in (ROOT / "tools").glob("*.py") if "ArgumentParser(" in path.read_text())


@pytest.mark.parametrize("tool", TOOLS)
def test_help_is_quick(tool: str) -> None:
    """A tool says how it is used without loading torch."""
    code = f"""
import runpy, sys
sys.path.insert(0, "tools")
sys.argv = ["tools/{tool}", "--help"]
try:
    runpy.run_path("tools/{tool}", run_name="__main__")
except SystemExit as end:
    print(end.code, "torch" in sys.modules)
"""
    assert run(code).splitlines()[-1] == "0 False"


def test_importing_does_nothing_else() -> None:
    """``import netspec`` starts no thread and no program, and opens no file but those of code."""
    code = """
import sys, threading, torch, torchvision, google.protobuf.text_format, safetensors.numpy, lmdb, h5py, tqdm, PIL.Image
opened = []
watched = ("open", "os.mkdir", "socket.connect", "subprocess.Popen")
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event in watched else None)
threads = threading.active_count()
import netspec
print(threading.active_count() - threads, [name for name in opened if ".py" not in name], len(opened) > 0)
"""
    assert run(code) == "0 [] True"


def test_importing_is_quick() -> None:
    """``import netspec`` does without the machinery of torch.compile, which takes as long as all else."""
    code = "import netspec, sys; print('torch._dynamo' in sys.modules, 'torchvision' in sys.modules)"
    assert run(code) == "False False"
