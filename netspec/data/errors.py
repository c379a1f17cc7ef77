"""The one error for what is wrong with data files."""

from __future__ import annotations

from netspec.errors import NetspecError


class DataError(NetspecError):
    """A data file cannot be used; the message names the file, the record where there is one, and the cause."""
