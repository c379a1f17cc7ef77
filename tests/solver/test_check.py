"""What is wrong with a solver text is said before the run starts, at its place."""

from collections.abc import Callable

import pytest

from netspec import Solver, SpecError
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.check import check_solver
from netspec.spec import parse

RIGHT = 'net: "x"\nbase_lr: 0.1\nlr_policy: "fixed"\nmax_iter: 10\n'

WRONG = [
    (RIGHT.replace("base_lr: 0.1\n", ""), "base_lr must be given", "net"),
    (RIGHT.replace('lr_policy: "fixed"\n', ""), "lr_policy must be given", "net"),
    (RIGHT.replace("max_iter: 10\n", ""), "max_iter must be given", "net"),
    (RIGHT.replace('net: "x"\n', ""), "give one of net, net_param, train_net, train_net_param", "base_lr"),
    (RIGHT + 'train_net: "y"', "not net and train_net", "train_net"),
    (RIGHT + 'type: "SDG"', 'no solver type "SDG"', "type"),
    (RIGHT + "solver_type: SGD", "older form", "solver_type"),
    (RIGHT + 'regularization_type: "L3"', "L1 or L2", "regularization_type"),
    (RIGHT + "iter_size: 0", "iter_size must be at least 1, not 0", "iter_size"),
    (RIGHT + "average_loss: 0", "average_loss must be at least 1", "average_loss"),
    (RIGHT + "snapshot: -1", "snapshot must be at least 0, not -1", "snapshot"),
    (RIGHT + "momentum: 1", "momentum must be below 1", "momentum"),
    (RIGHT + "momentum: -0.5", "momentum must be at least 0, not -0.5", "momentum"),
    (RIGHT.replace("fixed", "setp"), 'no lr_policy "setp"', "lr_policy"),
    (RIGHT.replace("fixed", "step") + "gamma: 0.1", '"step" needs stepsize', "lr_policy"),
    (RIGHT.replace("fixed", "step") + "gamma: 0.1 stepsize: 0", '"step" needs stepsize', "lr_policy"),
    (RIGHT.replace("fixed", "multistep") + "gamma: 0.1", '"multistep" needs stepvalue', "lr_policy"),
    (RIGHT.replace("fixed", "inv") + "gamma: 0.1", '"inv" needs power', "lr_policy"),
    (RIGHT.replace("fixed", "exp") + "gamma: -0.1", "gamma must be at least 0, not -0.1", "gamma"),
    (RIGHT.replace("fixed", "step") + "gamma: 0.1 stepsize: -2", "stepsize must be at least 0, not -2", "stepsize"),
    (RIGHT + "snapshot_diff: true snapshot_format: SAFETENSORS", "no place for diffs", "snapshot_diff"),
    (RIGHT + 'type: "LARS" snapshot_diff: true', "LARS has no diff", "snapshot_diff"),
    (RIGHT + 'type: "AdamW" snapshot_diff: true', "AdamW has no diff", "snapshot_diff"),
    (RIGHT + 'test_net: "y" test_net: "z" test_interval: 5 test_iter: 3', "1 test_iter for 2 test nets", "test_iter"),
    (RIGHT + 'type: "RMSProp" momentum: 0.9', "RMSProp has no momentum", "momentum"),
    (RIGHT + 'type: "AdaGrad" momentum: 0.9', "AdaGrad has no momentum", "momentum"),
    (RIGHT + "rms_decay: 1", "rms_decay must be below 1, not 1", "rms_decay"),
    (RIGHT + "ema_decay: 1.5", "ema_decay must be below 1, not 1.5", "ema_decay"),
    (RIGHT + 'type: "AdamW" regularization_type: "L1"', "AdamW decays the weights by itself", "regularization_type"),
    (RIGHT.replace("fixed", "plateau") + "gamma: 0.1", '"plateau" needs watch', "lr_policy"),
    (RIGHT + "stop_patience: 3", "stop_patience needs watch", "stop_patience"),
    (RIGHT + "snapshot_best: true", "snapshot_best needs watch", "snapshot_best"),
    (RIGHT + 'watch: "accuracy"', "watch needs a test_interval", "watch"),
    (RIGHT + "min_lr: 0.01", 'min_lr is for lr_policy "cosine" and "plateau"', "min_lr"),
    (RIGHT.replace("fixed", "cosine") + "min_lr: 0.2", "min_lr must not be above base_lr, which is 0.1", "min_lr"),
    (RIGHT.replace("fixed", "plateau") + 'watch: "a" gamma: 1', "gamma must be below 1 for a rate to drop", "gamma"),
    (RIGHT + "warmup_start_lr: 0.01", "warmup_start_lr needs warmup_iter", "warmup_start_lr"),
    (RIGHT + "test_state { } test_state { }", "2 test_state for 1 test nets", "test_state"),
]


def check(text: str) -> None:
    check_solver(parse(text, SolverParameter, "run.solver"))


def test_right_text_passes() -> None:
    """The text that the wrong ones are made from is right."""
    check(RIGHT)


@pytest.mark.parametrize(("text", "reason", "field"), WRONG, ids=[reason for _, reason, _ in WRONG])
def test_wrong_text(text: str, reason: str, field: str) -> None:
    """Every mistake is one message, at the field that holds it or at the text's beginning where it is missing."""
    with pytest.raises(SpecError) as caught:
        check(text)
    assert reason in str(caught.value)
    place = caught.value.source_line[caught.value.column - 1 :]
    assert place.startswith(field)


@pytest.mark.parametrize(("text", "hint"), [('type: "SDG"', '"SGD"'), ('lr_policy: "setp"', '"step"')])
def test_nearest_name(text: str, hint: str) -> None:
    """A misspelt solver type or policy comes with the nearest known one."""
    right = RIGHT if text.startswith("type") else RIGHT.replace('lr_policy: "fixed"', "")
    with pytest.raises(SpecError) as caught:
        check(right + text)
    assert hint in caught.value.hint


def test_a_setting_that_is_wrong_is_shown_itself(solver_of: Callable[..., Solver]) -> None:
    """What was put over the text is not looked for in it: the message shows the setting."""
    with pytest.raises(SpecError) as caught:
        solver_of(["base_lr=1", "lr_policy=stepp"])
    lines = ['--set:1:1: there is no lr_policy "stepp"', "    lr_policy=stepp", "    ^", 'did you mean "step"?']
    assert str(caught.value).splitlines() == lines
