"""Whether operations are being written down, to be done again without the Python around them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_RECORDED: ContextVar[bool] = ContextVar("recorded", default=False)


@contextmanager
def recorded() -> Iterator[None]:
    """A context whose operations are recorded."""
    token = _RECORDED.set(True)
    try:
        yield
    finally:
        _RECORDED.reset(token)


def is_traced() -> bool:
    """Whether PyTorch's compiler or a recorder follows: no value may be looked at then."""
    return torch.compiler.is_compiling() or _RECORDED.get()
