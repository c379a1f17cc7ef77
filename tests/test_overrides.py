"""Settings from the command line, put over solver and net."""

import pytest

from netspec import SpecError, parse_net, parse_solver
from netspec.overrides import Overrides
from netspec.schema.netspec_pb2 import TEST, TRAIN, LayerParameter

NET = """
layer { name: "data" type: "Data" include { phase: TRAIN } data_param { batch_size: 64 } }
layer { name: "data" type: "Data" include { phase: TEST } data_param { batch_size: 100 } }
layer { name: "ip" type: "InnerProduct" inner_product_param { num_output: 10 } }
layer { name: "only_test" type: "Dropout" exclude { phase: TRAIN } }
layer { name: "staged" type: "Dropout" include { stage: "deep" } }
"""


def layers(*settings: str) -> list[LayerParameter]:
    """The layers of the net in the phase that the settings name."""
    phase = TEST if any("@TEST" in setting for setting in settings) else TRAIN
    return list(Overrides(settings).applied_to_net(parse_net(NET), phase).message.layer)


def test_a_setting_for_the_other_phase() -> None:
    """A setting for one phase leaves the net of the other as it is, even where it has no such layer."""
    net = parse_net(NET)
    for setting in ("ip@TEST.inner_product_param.num_output=3", "not_there@TEST.name=x"):
        assert Overrides([setting]).applied_to_net(net, TRAIN).message == net


def test_fields_of_the_solver() -> None:
    """A field is set or replaced, a nested one by its path, a repeated one as a list, a string without its quotes."""
    solver = parse_solver('base_lr: 1 test_iter: 5 lr_policy: "fixed"')
    settings = ["base_lr=0.5", "test_iter=[1, 2]", "lr_policy=step", "train_state.level=3", "solver_mode=CPU"]
    changed = Overrides(settings).applied_to_solver(solver)
    expected = 'base_lr: 0.5 test_iter: [1, 2] lr_policy: "step" train_state { level: 3 } solver_mode: CPU'
    assert changed == parse_solver(expected)
    assert solver.base_lr == 1


@pytest.mark.parametrize(
    ("setting", "sizes"),
    [
        ("data.data_param.batch_size=7", [7, 7]),
        ("data@TRAIN.data_param.batch_size=7", [7, 100]),
        ("data@TEST.data_param.batch_size=7", [64, 7]),
    ],
)
def test_layers_by_phase(setting: str, sizes: list[int]) -> None:
    """A setting holds for every layer of the name, with @PHASE for those of that phase."""
    assert [layer.data_param.batch_size for layer in layers(setting)[:2]] == sizes


def test_several_settings() -> None:
    """The last setting of a field holds."""
    found = layers("ip.inner_product_param.num_output=3", "ip.inner_product_param.num_output=4")
    assert found[2].inner_product_param.num_output == 4


@pytest.mark.parametrize("layer", ["staged@TRAIN", "staged@TEST", "only_test@TEST", "ip@TEST"])
def test_rules_that_name_no_phase(layer: str) -> None:
    """A layer whose rules do not keep it out of a phase is of that phase."""
    found = layers(f"{layer}.dropout_param.dropout_ratio=0.25")
    assert [param.name for param in found if param.dropout_param.dropout_ratio == 0.25] == [layer.split("@")[0]]


@pytest.mark.parametrize(
    ("setting", "reason", "hint"),
    [
        ("dta.data_param.batch_size=7", 'no layer "dta"', '"data"'),
        ("only_test@TRAIN.name=x", 'no layer "only_test"', ""),
        ("data@TRIAN.data_param.batch_size=7", 'phase "TRIAN" is neither TRAIN nor TEST', ""),
        ("ip.inner_product_param.num_outptu=7", 'no field "num_outptu"', '"num_output"'),
        ("ip.inner_prodcut_param.num_output=7", '"inner_prodcut_param"', ""),
        ("ip.inner_product_param.num_output=many", "many", ""),
    ],
)
def test_mistakes_in_layers(setting: str, reason: str, hint: str) -> None:
    """What a setting names that is not there is said, with the nearest known name."""
    with pytest.raises(SpecError) as caught:
        layers(setting)
    assert reason in str(caught.value) and hint in caught.value.hint
    assert caught.value.path == "--set"


@pytest.mark.parametrize(
    ("setting", "reason", "hint"),
    [
        ("max_itre=7", 'no field "max_itre"', '"max_iter"'),
        ("max_iter", "key=value", ""),
        ("max_iter=1.5", "1.5", ""),
        ("train_state.levle=1", 'no field "levle"', '"level"'),
    ],
)
def test_mistakes_in_the_solver(setting: str, reason: str, hint: str) -> None:
    """A setting that is no field, or a value that does not fit it, is one SpecError."""
    with pytest.raises(SpecError) as caught:
        Overrides([setting]).applied_to_solver(parse_solver(""))
    assert reason in str(caught.value) and hint in caught.value.hint
