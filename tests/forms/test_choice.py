"""Which form computes each site: measured, remembered, and chosen for what they save together."""

import json
from pathlib import Path

import pytest
import torch

from netspec import Net, parse_net
from netspec.forms import PLAIN, choice
from netspec.forms.choice import Timed, choose, time_sites
from netspec.forms.trial import Setting, measure

TEXT = """\
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3] } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4 } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" }
"""

pytestmark = pytest.mark.usefixtures("made_up")


@pytest.fixture
def net() -> Net:
    return Net(parse_net(TEXT), "TRAIN")


def test_every_form_is_timed(net: Net, setting: Setting) -> None:
    """A measurement has positive seconds for the plain layers and each form, and leaves net and random state alone."""
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    times = measure(net.sites[0], setting, with_gradients=True, into_bottoms=True)
    assert set(times) == {PLAIN, "doubled"}
    assert min(times.values()) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(blob, before[name]) for name, blob in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_times_are_remembered(net: Net, setting: Setting, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time nothing is measured; what is not in the file, or damaged in it, is measured again."""
    first = time_sites(net.compiled, setting)
    assert [timed.is_new for timed in first] == [True, True]
    again = time_sites(net.compiled, setting)
    assert [(timed.seconds, timed.is_new) for timed in again] == [(timed.seconds, False) for timed in first]
    (file,) = cache_folder.glob("times-*")
    content = json.loads(file.read_text())
    file.write_text(json.dumps(dict(list(content.items())[1:]) | {"x": "y"}))
    assert [timed.is_new for timed in time_sites(net.compiled, setting)] == [True, False]
    file.write_text("{")
    assert [timed.is_new for timed in time_sites(net.compiled, setting)] == [True, True]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert all(timed.is_new for timed in time_sites(net.compiled, setting))


@pytest.mark.parametrize(
    ("other", "is_new"),
    [
        (TEXT.replace('"ip" type', '"fc" type'), False),
        (TEXT.replace("dim: [2, 3]", "dim: [4, 3]"), True),
        (TEXT.replace("num_output: 4", "num_output: 5"), True),
    ],
    ids=["name", "shape", "field"],
)
def test_what_makes_a_site_another_one(net: Net, other: str, is_new: bool, setting: Setting) -> None:
    """A layer of another name is the same; another shape or field is measured anew."""
    time_sites(net.compiled, setting)
    timed = time_sites(Net(parse_net(other), "TRAIN")._compiled, setting)
    assert {entry.is_new for entry in timed} == {is_new}


@pytest.mark.parametrize(
    ("row", "one", "chosen"),
    [
        ({PLAIN: 4.0, "doubled": 2.0}, {PLAIN: 2.0, "tripled": 1.0}, {"ip+relu": "doubled"}),
        ({PLAIN: 4.0, "doubled": 3.5}, {PLAIN: 2.0, "tripled": 1.0}, {"ip": "tripled"}),
        ({PLAIN: 4.0, "doubled": 3.9}, {PLAIN: 2.0, "tripled": 1.95}, {}),
        ({PLAIN: 4.0, "doubled": 5.0}, {PLAIN: 2.0, "tripled": 3.0}, {}),
    ],
    ids=["the row saves more", "one layer saves more", "too little", "slower"],
)
def test_what_saves_most_is_chosen(
    net: Net, row: dict[str, float], one: dict[str, float], chosen: dict[str, str]
) -> None:
    """Of sites that share a layer the one that saves most is taken; a form that is hardly faster is not."""
    timed = [Timed(site, seconds, True) for site, seconds in zip(net.sites, (row, one), strict=True)]
    assert choose(timed, list(net.layers)) == chosen


JOINED = """\
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3] } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4 } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "ip2" type: "InnerProduct" bottom: "data" top: "ip2" inner_product_param { num_output: 4 } }
layer { name: "relu2" type: "ReLU" bottom: "ip2" top: "ip2" }
layer { name: "join" type: "Concat" bottom: "ip" bottom: "ip2" top: "join" }
"""


@pytest.mark.parametrize(
    ("gains", "chosen"),
    [
        ([1.0, 0.5, 1.0, 0.5, 2.5], {"ip": "tripled", "ip2": "tripled", "relu+relu2+join": "one_buffer"}),
        ([2.0, 0.5, 2.0, 0.5, 2.5], {"ip+relu": "doubled", "ip2+relu2": "doubled"}),
        ([3.0, 0.5, 0.0, 0.5, 2.8], {"ip": "tripled", "ip2": "tripled", "relu+relu2+join": "one_buffer"}),
        ([3.0, 0.5, 0.0, 0.5, 2.2], {"ip+relu": "doubled", "ip2": "tripled"}),
    ],
    ids=["the join saves more", "the rows save more", "with what it leaves it does", "with what it leaves it does not"],
)
def test_a_join_against_rows(gains: list[float], chosen: dict[str, str]) -> None:
    """A join is taken where it saves more, with what is left of the rows that it cuts, than these rows."""
    net = Net(parse_net(JOINED), "TRAIN")
    seconds = [{PLAIN: 10.0, site.forms[0].name: 10 - gain} for site, gain in zip(net.sites, gains, strict=True)]
    timed = [Timed(site, times, True) for site, times in zip(net.sites, seconds, strict=True)]
    assert choose(timed, list(net.layers)) == chosen


def test_the_join_of_a_net_is_timed(setting: Setting) -> None:
    """A join whose ReLUs work in place is measured as well, with gradients."""
    site = Net(parse_net(JOINED), "TRAIN").sites[-1]
    times = measure(site, setting, with_gradients=True, into_bottoms=True)
    assert set(times) == {PLAIN, "one_buffer"}
    assert min(times.values()) > 0


def test_a_folder_that_cannot_be_written_costs_a_measurement(
    net: Net, setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a place to remember them times are measured each time."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        assert [timed.is_new for timed in time_sites(net.compiled, setting)] == [True, True]
    assert choice.environment(torch.device("cpu")).endswith(torch.__version__)
