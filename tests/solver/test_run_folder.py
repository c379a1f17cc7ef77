"""Whose files are beside the snapshots: two runs never mix, and nothing of the user's is replaced."""

from pathlib import Path

import pytest

from netspec.solver.run_folder import ENVIRONMENT, HEAD, LOG, SOLVER, claim, find


def mark_of(prefix: Path) -> str:
    """What the names of a run's files begin with, as the run finds it."""
    return claim(str(prefix)).mark


def test_a_run_alone_has_the_plain_names(tmp_path: Path) -> None:
    """The first run of a folder has log.csv and so on, at every start."""
    assert mark_of(tmp_path / "nin") == "" == mark_of(tmp_path / "nin")
    assert (tmp_path / ENVIRONMENT).read_text() == "prefix nin\n"


def test_runs_that_share_a_folder(tmp_path: Path) -> None:
    """A second run puts its prefix before its names, and both find theirs again, in any order."""
    assert [mark_of(tmp_path / name) for name in ("a", "b", "c")] == ["", "b_", "c_"]
    assert [mark_of(tmp_path / name) for name in ("c", "a", "b")] == ["c_", "", "b_"]
    found = [find(str(tmp_path / name)) for name in ("a", "b", "d")]
    assert [names and names.file(LOG).name for names in found] == [LOG, f"b_{LOG}", None]


@pytest.mark.parametrize(
    ("theirs", "mark"),
    [
        (["solver.prototxt"], "nin_"),
        (["net.prototxt"], "nin_"),
        (["test_1_net.prototxt"], "nin_"),
        (["environment.txt"], "nin_"),
        (["log.csv"], "nin_"),
        (["solver.prototxt", "nin_solver.prototxt"], "nin_run_"),
        (["train_val.prototxt", "nin.prototxt"], ""),
    ],
)
def test_files_of_the_user_stay(tmp_path: Path, theirs: list[str], mark: str) -> None:
    """Where a name is taken by a file that no run wrote, as in the folders of Caffe's examples, others are used."""
    for name in theirs:
        (tmp_path / name).write_text("base_lr: 0.1")
    names = claim(str(tmp_path / "nin"))
    assert names.mark == mark
    assert [(tmp_path / name).read_text() for name in theirs] == ["base_lr: 0.1"] * len(theirs)


def test_a_text_put_in_the_place_of_ours_is_the_users(tmp_path: Path) -> None:
    """A solver.prototxt that does not begin as a run writes it is left alone, though the folder is the run's."""
    assert mark_of(tmp_path / "nin") == ""
    (tmp_path / SOLVER).write_text(f"{HEAD} for the run nin\n")
    assert mark_of(tmp_path / "nin") == ""
    (tmp_path / SOLVER).write_text("base_lr: 0.1")
    assert mark_of(tmp_path / "nin") == "nin_"


def test_no_name_is_left(tmp_path: Path) -> None:
    """An error says that all are taken."""
    for name in ("log.csv", "nin_log.csv", "nin_run_log.csv"):
        (tmp_path / name).touch()
    with pytest.raises(OSError, match="all taken by others"):
        claim(str(tmp_path / "nin"))


def test_the_run_before_is_kept(tmp_path: Path) -> None:
    """Log and texts get the next number together; texts that the new run reads stay; without a log nothing moves."""
    names = claim(str(tmp_path / "nin"))
    (tmp_path / SOLVER).write_text(f"{HEAD} 0")
    assert names.set_aside(set()) is None and (tmp_path / SOLVER).exists()
    for count in (1, 2):
        (tmp_path / LOG).write_text(str(count))
        (tmp_path / SOLVER).write_text(f"{HEAD} {count}")
        assert names.set_aside(set()) == tmp_path / f"log.{count}.csv"
        assert (tmp_path / f"log.{count}.csv").read_text() == str(count)
        assert (tmp_path / f"solver.{count}.prototxt").read_text() == f"{HEAD} {count}"
        assert not (tmp_path / LOG).exists() and not (tmp_path / SOLVER).exists()
    for name in (LOG, SOLVER):
        (tmp_path / name).touch()
    names.set_aside({(tmp_path / SOLVER).resolve()})
    assert (tmp_path / SOLVER).exists() and not (tmp_path / "solver.3.prototxt").exists()
