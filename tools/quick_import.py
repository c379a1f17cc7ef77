"""netspec and PyTorch loaded in half the time, for tools that people wait for."""

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

META_KERNELS = "torch._meta_registrations"
"""PyTorch's operations on meta tensors, in Python: a quarter of its import. Shapes that are not remembered and
torch.compile need them; `netspec.meta_kernels` loads them then."""


@contextmanager
def quick_import() -> Iterator[None]:
    """What is imported inside the block is taken for good: it is not looked through for garbage, now or at the end,
    and PyTorch's kernels for meta tensors are left out, unless something asks for one at once."""
    gc.disable()
    stand_in = ModuleType(META_KERNELS)
    stand_in.__getattr__ = _loaded  # type: ignore[method-assign]
    if "torch" not in sys.modules:
        sys.modules[META_KERNELS] = stand_in
    try:
        yield
    finally:
        _take_away(stand_in)
        gc.freeze()
        gc.enable()


def _loaded(name: str) -> Any:
    """What a PyTorch that is being imported wants of the kernels."""
    if name.startswith("__"):
        raise AttributeError(name)
    del sys.modules[META_KERNELS]
    return getattr(importlib.import_module(META_KERNELS), name)


def _take_away(stand_in: ModuleType) -> None:
    """Let the next import find the kernels themselves."""
    if sys.modules.get(META_KERNELS) is stand_in:
        del sys.modules[META_KERNELS]
        torch = sys.modules.get("torch")
        if vars(torch or stand_in).get("_meta_registrations") is stand_in:
            del torch._meta_registrations  # type: ignore[union-attr]
