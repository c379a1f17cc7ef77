"""The functions of Python that call PyTorch's operations; they read their arguments in a third of the time that
torch.ops takes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_PLACES = (torch._C._VariableFunctions, Tensor)


class LightMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode without PyTorch's compiler."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch asks; it would load its compiler, which takes seconds, only to keep it out of what is below."""
        return False


class _OtherCallError(Exception):
    """A function calls another operation than the one in mind, with other arguments, or more than once."""


class _Once(LightMode):
    """Lets one operation through, once and with these arguments, and keeps its result."""

    def __init__(self, operation: Any, args: Any, kwargs: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._expected = operation, _comparable((args, kwargs))
        self.is_done = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.is_done or (func, _comparable((args, kwargs))) != self._expected:
            raise _OtherCallError
        self.result = func(*args, **kwargs)
        self.is_done = True
        return self.result


def _comparable(given: Any) -> Any:
    """Arguments as their texts, tensors as themselves."""
    if isinstance(given, Tensor):
        return id(given)
    if isinstance(given, (list, tuple)):
        return [_comparable(entry) for entry in given]
    if isinstance(given, dict):
        return {name: _comparable(entry) for name, entry in given.items()}
    return repr(given)


def call(operation: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Call an operation once; what to call in its place, a function of Python where one does just this, and the
    result."""
    name = operation._schema.name.removeprefix("aten::")
    for function in (getattr(place, name, None) for place in _PLACES):
        if callable(function):
            once, found = _Once(operation, args, kwargs), operation
            with suppress(TypeError, _OtherCallError), once:
                function(*args, **kwargs)
                found = function
            if once.is_done:
                return found, once.result
    return operation, operation(*args, **kwargs)
