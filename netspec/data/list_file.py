"""The text files that name what a data layer reads: a file a line."""

from __future__ import annotations

from pathlib import Path

from netspec.errors import DataError


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text that hold something, stripped, each with its number from 1; DataError where there are
    none."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise DataError(f"{path}: the list cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is no list of files: it is not text") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path}: the list is empty")
    return lines
