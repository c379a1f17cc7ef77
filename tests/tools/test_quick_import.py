"""tools/quick_import.py: PyTorch without its kernels for meta tensors, until something needs them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START = "import sys; sys.path.insert(0, 'tools'); from quick_import import META_KERNELS, quick_import\n"


def run(program: str) -> list[str]:
    """The lines that a program of its own prints."""
    done = subprocess.run([sys.executable, "-c", START + program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_kernels_are_left_out_until_they_are_needed() -> None:
    """Nothing of them is there after the import; loaded, they give a convolution's shape, and compile a function."""
    program = """
with quick_import():
    import torch
    from netspec.meta_kernels import load_meta_kernels
print(META_KERNELS in sys.modules, hasattr(torch, "_meta_registrations"))
load_meta_kernels()
image, weight = (torch.empty(shape, device="meta") for shape in ((2, 3, 8, 8), (4, 3, 3, 3)))
print(tuple(torch.conv2d(image, weight).shape))
print(float(torch.compile(lambda x: (x * 2).sum(), backend="aot_eager")(torch.ones(3))))
"""
    assert run(program) == ["False False", "(2, 4, 6, 6)", "6.0"]


def test_a_net_is_compiled_without_remembered_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes that no run before has found are found."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path))
    program = """
with quick_import():
    from netspec import Net
print(Net("zoo/quickstart.prototxt", "TEST").blob_shapes["cccp3"])
"""
    assert run(program) == ["(99, 10, 4, 4)"]


def test_who_asks_for_a_kernel_gets_it() -> None:
    """A PyTorch that reads from the kernels while it is loaded has them loaded; what it looks for by Python's own names
    loads nothing."""
    program = """
with quick_import():
    import torch
    print(hasattr(sys.modules[META_KERNELS], "__file__"), "torch._decomp" in sys.modules)
    from torch._meta_registrations import register_meta
    print(callable(register_meta))
print(META_KERNELS in sys.modules)
"""
    assert run(program) == ["False False", "True", "True"]


def test_a_torch_that_is_there_is_left_alone() -> None:
    """Where PyTorch has been imported before, nothing is taken from it."""
    program = """
import torch
with quick_import():
    import netspec
print(META_KERNELS in sys.modules, hasattr(torch, "_meta_registrations"))
"""
    assert run(program) == ["True True"]
