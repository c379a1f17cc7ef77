"""The text files that name what a data layer reads."""

import pytest

from netspec.data.list_file import read_lines
from netspec.errors import DataError


@pytest.mark.parametrize("content", [b"caf\xe9.png 0\n", "a.png 0\n".encode("utf-16")])
def test_a_text_in_another_encoding(content, tmp_path):
    """What is no UTF-8 is refused by name, with the encoding that is needed."""
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(DataError, match="list is no list of files: it is not text in UTF-8"):
        read_lines(tmp_path / "list")
