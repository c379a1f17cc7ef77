"""log.csv: its rows, what a resume keeps of them, and a disk that is full for a while."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.solver.run_log import RunLog, read_log

HEAD = "iteration,epoch,seconds,lr,loss"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.csv"


def open_log(path: Path, iteration: int = 0) -> RunLog:
    return RunLog(lambda: path, iteration)


def text_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_log_grows_row_by_row(path: Path) -> None:
    """Cells of one iteration are one row, what is not there is blank, and every row is in the file at once."""
    log = open_log(path)
    assert not path.exists()
    log.add(0, {"test accuracy": 0.125})
    assert text_of(path) == [f"{HEAD},test accuracy", "0,,,,,0.125"]
    log.add(0, {"lr": 0.1, "loss": 2.5, "train loss": 2.25})
    assert text_of(path) == [f"{HEAD},train loss,test accuracy", "0,,,0.1,2.5,2.25,0.125"]
    log.add(10, {"lr": 0.01, "loss": 1e-7, "train loss": 123456.75})
    assert text_of(path)[1:] == ["0,,,0.1,2.5,2.25,0.125", "10,,,0.01,1e-07,123456.8,"]
    log.add(20, {"test accuracy": 0.5, "test 1 accuracy": float("nan")})
    assert text_of(path)[0] == f"{HEAD},train loss,test accuracy,test 1 accuracy"
    assert text_of(path)[-1] == "20,,,,,,0.5,nan"


def test_names_with_commas(path: Path) -> None:
    """A blob's name may hold what separates the columns."""
    open_log(path).add(0, {'test a,"b"': 1.0})
    assert read_log(path) == [{"iteration": "0", 'test a,"b"': "1"}]


@pytest.mark.parametrize(
    ("iteration", "kept"), [(5, [0]), (10, [0, 10]), (19, [0, 10]), (20, [0, 10, 20]), (99, [0, 10, 20])]
)
def test_a_resume_keeps_what_was_before(path: Path, iteration: int, kept: list[int]) -> None:
    """Rows after the iteration that a run goes on from are dropped when it starts; new ones follow the rest."""
    log = open_log(path)
    for count in (0, 10, 20):
        log.add(count, {"loss": count})
    again = open_log(path, iteration)
    assert [int(row["iteration"]) for row in read_log(path)] == kept
    assert again.last == {"iteration": str(kept[-1]), "loss": str(kept[-1])}
    again.add(iteration + 1, {"loss": 1.0})
    assert [int(row["iteration"]) for row in read_log(path)] == [*kept, iteration + 1]


def test_a_row_that_is_written_again_is_the_new_one(path: Path) -> None:
    """At the iteration of the snapshot a resumed run writes over the cells that it has, and leaves the others."""
    open_log(path).add(7, {"loss": 1.0, "test accuracy": 0.5})
    open_log(path, 7).add(7, {"loss": 2.0})
    assert read_log(path) == [{"iteration": "7", "loss": "2", "test accuracy": "0.5"}]


def test_nothing_of_a_log_is_before_the_snapshot(path: Path) -> None:
    """A log of later iterations alone is begun anew."""
    open_log(path).add(7, {"loss": 1.0})
    log = open_log(path, 6)
    assert not path.exists()
    log.add(7, {"lr": 2.0})
    assert read_log(path) == [{"iteration": "7", "lr": "2"}]


@pytest.mark.parametrize("lost", range(1, 11))
def test_a_line_that_was_cut(path: Path, lost: int) -> None:
    """Of a log whose last bytes were never written the whole rows are read, and a resume goes on after them."""
    log = open_log(path)
    for count in (1, 2):
        log.add(count, {"loss": 0.25})
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    assert [row["iteration"] for row in read_log(path)] == ["1"]
    open_log(path, 2).add(2, {"loss": 0.25})
    assert path.read_bytes() == whole


@given(st.lists(st.integers(0, 3), min_size=1), st.data())
def test_resumed_logs_are_straight_ones(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[int], data: st.DataObject
) -> None:
    """However often a run is cut off and goes on from an earlier iteration, its log ends as that of a straight run."""
    folder = tmp_path_factory.mktemp("logs")

    def run(path: Path, first: int, last: int) -> None:
        log = open_log(path, first)
        for iteration in range(first, last):
            for bit, name in ((1, "test accuracy"), (2, "loss")):
                if kinds[iteration] & bit:
                    log.add(iteration, {name: iteration / 4})

    run(folder / "straight.csv", 0, len(kinds))
    last = 0
    while last < len(kinds):
        first = data.draw(st.integers(0, last))
        last = data.draw(st.integers(last + 1, len(kinds)))
        run(folder / "resumed.csv", first, last)
    assert read_log(folder / "resumed.csv") == read_log(folder / "straight.csv")


def test_a_full_disk_costs_no_row(
    path: Path, file_limit: Callable[[int], AbstractContextManager[None]], caplog: pytest.LogCaptureFixture
) -> None:
    """While a log cannot grow that is said once, and what was written is whole; with room again all rows are there."""
    log = open_log(path)
    log.add(0, {"loss": 0.5})
    size = path.stat().st_size
    for _ in range(2):
        caplog.clear()
        with file_limit(size + 3):
            for iteration in (1, 2, 3):
                log.add(iteration, {"loss": 0.5})
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "log.csv: cannot be written: File too large; the run goes on" in caplog.text
        assert [row["iteration"] for row in read_log(path)] == ["0"]
        log.add(4, {"loss": 0.5})
        assert [row["iteration"] for row in read_log(path)] == ["0", "1", "2", "3", "4"]
        log = open_log(path, 0)


def test_a_new_column_on_a_full_disk(path: Path, file_limit: Callable[[int], AbstractContextManager[None]]) -> None:
    """The old file stays whole where it cannot be replaced by one with more columns."""
    log = open_log(path)
    log.add(0, {"loss": 0.5})
    before = path.read_bytes()
    with file_limit(10):
        log.add(1, {"test accuracy": 0.5})
    assert path.read_bytes() == before
    log.add(2, {"test accuracy": 0.5})
    assert text_of(path) == [f"{HEAD},test accuracy", "0,,,,0.5,", "1,,,,,0.5", "2,,,,,0.5"]


def test_a_place_that_is_found_late(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rows wait for a place as they wait for room, and follow what is there by then."""
    open_log(path).add(0, {"loss": 0.5})
    places = iter([OSError(28, "No space left on device"), OSError(28, "No space left on device"), path])

    def place() -> Path:
        found = next(places)
        if isinstance(found, OSError):
            raise found
        return found

    log = RunLog(place, 0)
    log.add(0, {"lr": 1.0})
    log.add(1, {"lr": 1.0})
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert text_of(path) == [HEAD, "0,,,1,0.5", "1,,,1,"]


@pytest.mark.parametrize("content", [None, ""])
def test_a_log_that_was_taken_away(path: Path, content: str | None) -> None:
    """A log that somebody deletes or empties during the run is begun anew."""
    log = open_log(path)
    log.add(0, {"loss": 0.5})
    log.add(1, {"loss": 0.5})
    path.unlink()
    if content is not None:
        path.write_text(content)
    log.add(2, {"loss": 0.5})
    assert text_of(path) == [HEAD, "1,,,,0.5", "2,,,,0.5"]
