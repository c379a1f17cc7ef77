"""What a user's own code raises, as one message with its file and line."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from netspec.errors import NetspecError


class CodeError(NetspecError):
    """The code of a Python layer failed while the net ran; the message has the layer, file and line, `__cause__` what
    the code raised."""


@contextmanager
def running(cls: type[Any], layer: str) -> Iterator[None]:
    """Turn what the user's class raises into a CodeError that names the layer."""
    try:
        yield
    except NetspecError:
        raise
    except Exception as error:
        raise CodeError(f'layer "{layer}": {cls.__name__}: {told(error, source_of(cls))}') from error


@cache
def leave_to_python(cls: type[Any], method: str) -> None:
    """Keep torch.compile out of a method: it does what cannot be traced. Called when the first object is made, as the
    machinery behind takes a second to import."""
    setattr(cls, method, torch.compiler.disable(getattr(cls, method)))  # type: ignore[no-untyped-call]


def source_of(cls: type[Any]) -> str:
    """The file of a class, or nothing where it has none."""
    try:
        return inspect.getsourcefile(cls) or ""
    except TypeError:  # a class that was made while the program ran
        return ""


def told(error: Exception, file: str) -> str:
    """File and line of an error, the innermost in a file where it passes that, and what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename.endswith(file)), frames[-1])
    place, says = f"{frame.filename}:{frame.lineno}", str(error)
    if isinstance(error, SyntaxError) and error.filename:
        place, says = f"{error.filename}:{error.lineno}", error.msg
    return f"{os.path.relpath(place)}: {type(error).__name__}: {says}"
