"""The errors that a user can cause: what they wrote (`spec.SpecError`), and what is wrong with their files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class NetspecError(Exception):
    """Something that the user can put right; the message says where it is and what was expected."""


class SnapshotError(NetspecError):
    """A weights file or a snapshot cannot be read, written or used; the message has the path and the cause."""


@contextmanager
def readable_errors() -> Iterator[None]:
    """End the program with the message alone where the user made a mistake, as the tools do."""
    try:
        yield
    except NetspecError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
