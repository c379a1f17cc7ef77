"""The lines of a run, as Caffe's own log parser reads them."""

import logging
import re
import sys
import time
from collections.abc import Callable

import pytest
import torch

from netspec import Solver
from netspec.log import GlogFormatter, log_to_stderr, logger
from netspec.schema.netspec_pb2 import RunState
from netspec.solver.display import Display, log_outputs

# What tools/extra/parse_log.py of Caffe searches for.
ITERATION = re.compile(r"Iteration (\d+)")
TRAIN_OUTPUT = re.compile(r"Train net output #(\d+): (\S+) = ([\.\deE+-]+)")
TEST_OUTPUT = re.compile(r"Test net output #(\d+): (\S+) = ([\.\deE+-]+)")
RATE = re.compile(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)")


def record(message: str, created: float = 0.0, level: int = logging.INFO) -> logging.LogRecord:
    made = logging.LogRecord("netspec", level, "/somewhere/solver.py", 218, message, (), None)
    made.created, made.process = created, 77
    return made


def test_lines_of_a_run(solver_of: Callable[..., Solver], caplog: pytest.LogCaptureFixture) -> None:
    """Every iteration, output and rate is found by the expressions of Caffe's parser, with the run's own values."""
    solver = solver_of(display=2, test_interval=4, max_iter=6, base_lr=2.5e-5, stepvalue=[4], snapshot=0)
    solver.solve()
    lines = [item.message for item in caplog.records]
    assert any("Solving" in line for line in lines)
    rates = {int(ITERATION.search(line)[1]): float(match[1]) for line in lines if (match := RATE.search(line))}
    assert rates == pytest.approx({0: 2.5e-5, 2: 2.5e-5, 4: 2.5e-6}, rel=1e-5)
    train = [match.groups()[:2] for line in lines if (match := TRAIN_OUTPUT.search(line))]
    assert train == [("0", "loss")] * 3
    test = [match.groups()[:2] for line in lines if (match := TEST_OUTPUT.search(line))]
    assert test == [("0", "accuracy"), ("1", "loss")] * 2
    losses = [
        line for line in lines if re.match(r"Iteration \d+ \([\d.e+-]+ iter/s, [\d.e+-]+s/\d+ iters\), loss = ", line)
    ]
    assert [int(ITERATION.search(line)[1]) for line in losses] == [0, 2, 4]


@pytest.mark.parametrize("value", [0.25, 1e-7, 123456789.0, 1e20, -3.5, 0.0])
def test_numbers_survive_the_parser(caplog: pytest.LogCaptureFixture, value: float) -> None:
    """Small, large and negative values are read back to six digits."""
    log_outputs("Test", {"loss": [value, value]}, {"loss": 2.0})
    found = [TEST_OUTPUT.search(item.message).groups() for item in caplog.records]
    assert [(number, name) for number, name, _ in found] == [("0", "loss"), ("1", "loss")]
    assert float(found[0][2]) == pytest.approx(value, rel=1e-5)
    assert caplog.records[0].message.endswith(f"(* 2 = {2 * value:.6g} loss)")


def test_prefix_is_that_of_glog() -> None:
    """Level, month and day, time to the microsecond, process, file and line stand where glog puts them."""
    created = time.mktime((2024, 3, 9, 2, 3, 4, 0, 0, -1)) + 0.25
    assert (
        GlogFormatter().format(record("Solving x", created)) == "I0309 02:03:04.250000    77 solver.py:218] Solving x"
    )


@pytest.mark.parametrize(("level", "letter"), [(logging.INFO, "I"), (logging.WARNING, "W"), (logging.ERROR, "E")])
def test_first_letter_is_the_level(level: int, letter: str) -> None:
    """I, W and E, as in glog."""
    assert GlogFormatter().format(record("x", level=level)).startswith(letter)


def test_the_parser_gets_its_date_and_time() -> None:
    """The first word holds month and day after the level, the second hours, minutes, seconds and microseconds."""
    month_day, clock, *_ = GlogFormatter().format(record("Solving", time.time())).split()
    assert time.strftime("%m%d")[:2] == f"{int(month_day[1:3]):02d}" and 1 <= int(month_day[3:]) <= 31
    seconds, _, micro = clock.rpartition(".")
    assert len([int(part) for part in seconds.split(":")]) == 3 and 0 <= int(micro) < 1_000_000 and len(micro) == 6


def test_every_line_of_a_message_has_the_prefix() -> None:
    """A message of several lines, as an error with its caret, stays readable for parsers of lines."""
    first, second = GlogFormatter().format(record("one\ntwo")).splitlines()
    assert first.endswith("] one") and second.endswith("] two") and first[:-3] == second[:-3]


def test_log_to_stderr_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines go to standard error, once each, however often that is asked for; standard output stays free."""
    monkeypatch.setattr(logger, "handlers", [])
    log_to_stderr()
    log_to_stderr()
    logger.info("Iteration %d", 7)
    out, err = capsys.readouterr()
    assert out == "" and err.count("Iteration 7") == 1 and err.startswith("I")


def test_figures_of_an_iteration() -> None:
    """A displayed iteration has its rate, its loss and every number of every output, by the heads of their columns."""
    display = Display(window=2, images_per_iteration=1)
    for loss in (1.0, 2.0):
        display.add(torch.tensor(loss))
    outputs = {"loss": torch.tensor(2.0), "recall": torch.tensor([[0.25, 0.5]])}
    assert display.iteration(7, 0.1, outputs, {"loss": 1.0}) == {
        "lr": 0.1, "loss": 1.5, "train loss": 2.0, "train recall[0]": 0.25, "train recall[1]": 0.5,
    }  # fmt: skip


def test_window_of_losses() -> None:
    """The window holds the last losses, as many as average_loss says, and can be taken up again."""
    display, other = (Display(window=3, images_per_iteration=1) for _ in range(2))
    for loss in (8.0, 1.0, 2.0, 3.0):
        display.add(torch.tensor(loss))
    assert display.shown_losses == [1.0, 2.0, 3.0] and display.smoothed_loss() == 2.0
    other.add(torch.tensor(9.0))
    run = RunState()
    display.store(run)
    other.restore(run)
    assert other.shown_losses == [1.0, 2.0, 3.0]


def test_bar_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """On a terminal a bar shows the iteration, the end and the images per second; elsewhere there is none, nor where
    only warnings are shown."""
    for terminal, level in ((False, logging.INFO), (True, logging.INFO), (True, logging.WARNING)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        caplog.set_level(level, "netspec")
        display = Display(window=1, images_per_iteration=32)
        display.start(10, 20)
        for _ in range(3):
            time.sleep(0.11)
            display.add(torch.tensor(1.0))
        display.close()
        shown = capsys.readouterr().err
        assert ("/20" in shown and "images/s" in shown) == (terminal and level == logging.INFO)
