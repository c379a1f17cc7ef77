"""The rate policies and the stages of multistep."""

import math

import pytest

from netspec import parse_solver
from netspec.solver.rates import POLICIES, learning_rate, stage

TABLE = [
    ('lr_policy: "fixed"', {0: 0.5, 1: 0.5, 99: 0.5}),
    ('lr_policy: "step" gamma: 0.5 stepsize: 4', {0: 0.5, 3: 0.5, 4: 0.25, 7: 0.25, 8: 0.125}),
    ('lr_policy: "exp" gamma: 0.5', {0: 0.5, 1: 0.25, 3: 0.0625}),
    ('lr_policy: "inv" gamma: 0.25 power: 2', {0: 0.5, 4: 0.125, 12: 0.03125}),
    (
        'lr_policy: "multistep" gamma: 0.5 stepvalue: 3 stepvalue: 8',
        {0: 0.5, 2: 0.5, 3: 0.25, 7: 0.25, 8: 0.125, 99: 0.125},
    ),
    ('lr_policy: "poly" power: 2 max_iter: 10', {0: 0.5, 5: 0.125, 9: 0.005, 10: 0.0, 11: 0.0}),
    ('lr_policy: "sigmoid" gamma: 1 stepsize: 6', {6: 0.25, 7: 0.5 / (1 + math.exp(-1)), 999: 0.5}),
    ('lr_policy: "cosine" max_iter: 8 min_lr: 0.1', {0: 0.5, 2: 0.3 + 0.2 * 0.5**0.5, 4: 0.3, 8: 0.1, 9: 0.1}),
    ('lr_policy: "plateau" gamma: 0.1', {0: 0.5, 999: 0.5}),
]


def test_the_table_below_is_complete() -> None:
    """Every policy has its row."""
    assert {text.split('"')[1] for text, _ in TABLE} == set(POLICIES)


@pytest.mark.parametrize(
    ("text", "rates"), TABLE, ids=lambda value: str(value).split('"')[1] if '"' in str(value) else ""
)
def test_rate_of_an_iteration(text: str, rates: dict[int, float]) -> None:
    """Each policy gives Caffe's rate, worked out by hand."""
    solver = parse_solver(f"base_lr: 0.5 {text}")
    assert {iteration: learning_rate(solver, iteration) for iteration in rates} == pytest.approx(rates, rel=1e-6)


def test_sigmoid_far_below_its_middle_is_zero() -> None:
    """Where exp would overflow the rate is 0."""
    solver = parse_solver('base_lr: 1 lr_policy: "sigmoid" gamma: 10 stepsize: 1000')
    assert learning_rate(solver, 0) == 0


@pytest.mark.parametrize("text", ['lr_policy: "exp" gamma: 9', 'lr_policy: "poly" power: -1 max_iter: 500'])
def test_a_rate_beyond_all_numbers_is_infinite(text: str) -> None:
    """Where a power overflows, or 0 is divided by, the rate is infinite as in C: the run ends as diverged."""
    assert learning_rate(parse_solver(f"base_lr: 1 {text}"), 500) == math.inf


@pytest.mark.parametrize("values", [[], [0], [3], [3, 3], [3, 4, 4, 4, 5], [0, 0, 0], [2, 50]])
def test_one_stage_an_iteration(values: list[int]) -> None:
    """The stage is that of Caffe's loop, which passes at most one stepvalue an iteration."""
    solver = parse_solver('lr_policy: "multistep" ' + " ".join(f"stepvalue: {value}" for value in values))
    reached = 0
    for iteration in range(12):
        if reached < len(values) and iteration >= values[reached]:
            reached += 1
        assert stage(solver, iteration) == reached


@pytest.mark.parametrize(("policy", "stages"), [("step", [0, 0, 0, 1, 1, 1, 2]), ("fixed", [0] * 7), ("exp", [0] * 7)])
def test_stages_of_other_policies(policy: str, stages: list[int]) -> None:
    """step counts its drops; a policy without stages has none, whatever stepvalues are given."""
    solver = parse_solver(f'lr_policy: "{policy}" stepsize: 3 stepvalue: 2')
    assert [stage(solver, iteration) for iteration in range(7)] == stages
    assert stage(solver, -1) == 0
