"""The messages themselves: what is left out of a long one, and what never is."""

import subprocess
import sys

import pytest

from netspec.errors import SpecError

LONG = "x" * 300
PATH = "/data/imagenet/" + "some_folder/" * 12 + "train_lmdb"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("a short one", "a short one"),
        (f'there is no layer "{LONG}"', f'there is no layer "{"x" * 19}...{"x" * 19}"'),
        (f'"{PATH}" is not there, nor is "work{PATH}"', f'"{PATH}" is not there, nor is "work{PATH}"'),
        (f"{LONG}: {PATH}", f"{'x' * 20}...{'x' * 19}: {PATH}"),
        (f'"{PATH}/my images" is not there', f'"{PATH}/my images" is not there'),
        ("a line\nand a tab\t", r"a line\nand a tab\t"),
        (f'"{"a/" * 200}" is no file', f'"{"a/" * 9}a...{"/a" * 9}/" is no file'),
        ("word " * 100, ("word " * 100)[:160]),
    ],
)
def test_what_is_left_out_of_a_long_message(reason: str, said: str) -> None:
    """A message that is too long loses the middle of its long words, never of a path, and then its end."""
    assert SpecError(reason, "net.prototxt").reason == said


def test_a_long_path_takes_the_place_of_the_line() -> None:
    """The line with the caret gives way where the message would be longer than 299 characters."""
    text = f'layer {{ data_param {{ source: "{PATH}" }} }}'
    error = SpecError(f'"{PATH}" is not there, and more is said of it', "net.prototxt", text)
    assert PATH in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize("printed", ["'x' * 1_000_000", "'a line'"])
def test_an_output_that_nobody_reads(printed: str) -> None:
    """A tool behind `| head` ends without a word, with much to say or little."""
    program = f"import netspec.errors as e\nwith e.readable_errors():\n    input()\n    print({printed})"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
