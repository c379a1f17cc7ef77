"""What classes are called in reports."""

import pytest

from netspec.evaluation.names import titled


@pytest.mark.parametrize(("number", "title"), [(0, "0 cat"), (1, "1"), (2, "2")])
def test_titles(number: int, title: str) -> None:
    """A class has its number, and its name where that is another word."""
    assert titled(number, ("cat", "1", "")) == title
