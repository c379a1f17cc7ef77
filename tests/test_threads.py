"""How many threads torch computes with, in a container of few processors too."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from netspec import Net, parse_net, threads

Groups = Callable[..., None]

NET = parse_net('layer { name: "in" type: "Input" top: "in" input_param { shape { dim: 1 } } }')


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Groups:
    """Let the process be in a control group, with files in the groups' folders."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "OF_THE_PROCESS", tmp_path / "of_the_process")

    def write(of_the_process: str, files: dict[str, str]) -> None:
        (tmp_path / "of_the_process").write_text(of_the_process)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


@pytest.fixture(autouse=True)
def eight_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


V1 = "8:pids:/\n3:cpu,cpuacct:/docker/ab\n1:name=systemd:/\n"
CASES = {
    "no limit": ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
    "three": ("0::/\n", {"cpu.max": "300000 100000\n"}, 3),
    "two and a half": ("0::/\n", {"cpu.max": "250000 100000\n"}, 2),
    "half a one": ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
    "more than there are": ("0::/\n", {"cpu.max": "6400000 100000\n"}, 8),
    "of a group above": ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "400000 100000\n"}, 4),
    "the least of several": ("0::/a\n", {"a/cpu.max": "500000 100000\n", "cpu.max": "600000 100000\n"}, 5),
    "version 1": (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 2),
    "version 1, no limit": (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 8),
    "what is no number": ("0::/\n", {"cpu.max": "many\n"}, 8),
    "nothing there": ("", {}, 8),
}


@pytest.mark.parametrize("case", CASES)
def test_no_more_threads_than_processors(groups: Groups, case: str, caplog: pytest.LogCaptureFixture) -> None:
    """A net computes with as many threads as the control groups give processors, and the log says so."""
    of_the_process, files, expected = CASES[case]
    groups(of_the_process, files)
    caplog.set_level("INFO", "netspec")
    Net(NET)
    assert torch.get_num_threads() == expected
    assert (f"Threads: {expected}, since" in caplog.text) == (expected < 8)


def test_the_user_decides(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment says how many threads there are, they are."""
    groups(*CASES["three"][:2])
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    Net(NET)
    assert torch.get_num_threads() == 8


def test_a_system_without_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux nothing changes."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "OF_THE_PROCESS", tmp_path / "none")
    Net(NET)
    assert torch.get_num_threads() == 8
