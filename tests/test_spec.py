"""Texts that are wrong, and what is said of them; texts that are right, and what is read from them."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import changed

from netspec import Net, Solver, SpecError, parse_net, parse_solver, read_net, read_solver, to_text
from netspec.schema.netspec_pb2 import NetParameter, NetState, SolverParameter
from netspec.spec import Document, document_of, nearest, parse, read, set_field

TESTS = Path(__file__).parent
ZOO = TESTS.parent / "zoo"
WRONG = sorted(path for path in (TESTS / "wrong").iterdir() if path.suffix != ".txt")

SMALL_NET = """\
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 8, 8] } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { pool: AVE global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "pool1" top: "ip" inner_product_param { num_output: 5 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" include { phase: TRAIN } }
"""

OLD = TESTS / "upgrade"
TEXTS = [SMALL_NET, *(path.read_text() for path in sorted([*ZOO.glob("*.prototxt"), *OLD.glob("*.old.prototxt")]))]
TOKENS = ["{", "}", "<", ">", "[", "]", ":", ",", ";", '"', "'", "#", "\n", "\\", "\0", "é", "nan", "-1", "1e99", "0x",
          "layer {", 'top: "x"', "type", "phase: TRAIN", "999999999999999999999", '"a"', "true", "x" * 300]  # fmt: skip


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.name)
def test_a_wrong_text_gets_its_message(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text in the folder `wrong` is refused with the message that stands beside it, in under 300 characters."""
    monkeypatch.chdir(TESTS)
    with pytest.raises(SpecError) as caught:
        if path.suffix == ".solver":
            Solver(path.relative_to(TESTS), device="cpu")
        else:
            Net(path.relative_to(TESTS))
    message = str(caught.value)
    assert message + "\n" == path.with_suffix(".txt").read_text()
    assert len(message) < 300


def check_message(error: SpecError, text: str) -> None:
    """Its place lies in the text, and it is short."""
    lines = text.split("\n")
    assert 1 <= error.line <= len(lines)
    assert 1 <= error.column <= len(lines[error.line - 1]) + 1
    assert len(str(error)) < 300


@settings(max_examples=300)
@given(st.sampled_from(TEXTS).flatmap(lambda text: changed(text, TOKENS)))
def test_a_mutant_is_read_or_refused(text: str) -> None:
    """Whatever is done to a text, it is read, or refused with a SpecError that points into it."""
    try:
        parse_net(text)
    except SpecError as error:
        check_message(error, text)


@st.composite
def mutants_of_small_net(draw: st.DrawFn) -> str:
    """The small net with one to three of its words replaced by others of its words or by numbers."""
    words = SMALL_NET.split(" ")
    numbers = [str(n) for n in (-2, -1, 0, 1, 2, 7, 99, 4294967295)]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(words) - 1))
        words[place] = draw(st.sampled_from(words) | st.sampled_from(numbers) | st.just(""))
    return " ".join(words)


@settings(max_examples=200)
@given(mutants_of_small_net())
def test_a_mutant_net_is_built_or_refused(text: str) -> None:
    """A net with words exchanged is built, or refused with a SpecError that points into its text."""
    try:
        Net(parse(text, NetParameter), "TRAIN")
    except SpecError as error:
        check_message(error, text)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_gets_a_hint(tmp_path: Path) -> None:
    """A file name with a typo is answered with the file that was meant."""
    (tmp_path / "lenet.prototxt").write_text("")
    with pytest.raises(SpecError, match=r"there is no such file\ndid you mean \".*lenet.prototxt\"\?") as caught:
        read_net(tmp_path / "lnet.prototxt")
    assert caught.value.path == str(tmp_path / "lnet.prototxt")


@pytest.mark.parametrize("name", ["", "nowhere/net.prototxt"])
def test_what_cannot_be_read_is_a_spec_error(name: str, tmp_path: Path) -> None:
    """A folder, or a file in a folder that is not there, is a SpecError with its path."""
    with pytest.raises(SpecError, match=str(tmp_path)):
        read_solver(tmp_path / name)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A byte that is not UTF-8 is reported with its line and column."""
    path = tmp_path / "net.prototxt"
    path.write_bytes('name: "é"\nlayer { name: "'.encode() + b'\xff" }')
    with pytest.raises(SpecError, match="not UTF-8") as caught:
        read_net(path)
    assert (caught.value.line, caught.value.column) == (2, 16)


@pytest.mark.parametrize("content", [b'\xef\xbb\xbfname: "x"', b'name: "x"\r\n', b"name: 'x' # \xc3\xa9"])
def test_editors_leave_marks(content: bytes, tmp_path: Path) -> None:
    """A byte order mark, Windows line ends and comments in any language are read over."""
    (tmp_path / "net.prototxt").write_bytes(content)
    assert read_net(tmp_path / "net.prototxt").name == "x"


@pytest.mark.parametrize("separator", ["\r\n", "\n\n", "\n#\x0c\u2028\x85\n"])
def test_the_shown_line_is_the_wrong_one(separator: str) -> None:
    """Line and caret stand at the mistake whatever else separates lines to Python."""
    text = separator.join(['name: "x"', "layer {", '  nme: "y"', "}"])
    with pytest.raises(SpecError) as caught:
        parse_net(text)
    line, caret = str(caught.value).split("\n")[1:3]
    assert line[caret.index("^") :].startswith("nme")


@pytest.mark.parametrize("before", [0, 30, 99, 100, 101, 5000])
@pytest.mark.parametrize("after", [0, 30, 5000])
def test_the_caret_in_a_long_line(before: int, after: int) -> None:
    """Of a long line the part around the mistake is shown, with the caret below it."""
    with pytest.raises(SpecError) as caught:
        parse_net(" " * before + "nme: 1 #" + "x" * after)
    line, caret = str(caught.value).split("\n")[1:3]
    assert line[caret.index("^") :].startswith("nme")
    assert len(line) <= 104


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("relu", ["ReLU", "TanH"], 'did you mean "ReLU"?'),
        ("conv1", ["data", "conv2"], 'did you mean "conv2"?'),
        ("xyz", ["data"], ""),
        ("data", [], ""),
    ],
)
def test_nearest(name: str, known: list[str], hint: str) -> None:
    """The hint names what is close, whatever its case, and is empty where nothing is."""
    assert nearest(name, known) == hint


@pytest.mark.parametrize("path", sorted(ZOO.glob("*.prototxt")), ids=lambda path: path.name)
def test_a_text_survives_being_printed(path: Path) -> None:
    """Printed and read again, a message is the same."""
    net = read_net(path)
    assert parse_net(to_text(net)) == net


OCTALS = [
    ("max_iter: 010", "max_iter: 8"),
    ("stepvalue: [-017, 0x1F, 00]", "stepvalue: [-15, 31, 0]"),
    ("net_param { layer { convolution_param { pad: 02 } } }", "net_param { layer { convolution_param { pad: 2 } } }"),
    ("base_lr: 0.010", "base_lr: 0.01"),
    ("base_lr: 0", "base_lr: 0.0"),
    ("net: '010' # 010", "net: '010'"),
]


@pytest.mark.parametrize(("text", "meaning"), OCTALS, ids=[text for text, _ in OCTALS])
def test_a_whole_number_may_be_octal(text: str, meaning: str) -> None:
    """A whole number with a 0 in front is octal, as in Caffe."""
    assert parse(text, SolverParameter).message == parse(meaning, SolverParameter).message


@pytest.mark.parametrize("number", ["010", "-010", "00", "010.5", "00.5f", "01e2", "08"])
def test_a_float_may_not_be_octal(number: str) -> None:
    """Nor is it decimal with a 0 in front, alone or in a list, whatever the version of protobuf."""
    for before, after in [("base_lr: 1 gamma: ", ""), ("net_param { layer { loss_weight: [1, ", "] } }")]:
        with pytest.raises(SpecError, match=f"{number} is no number: it begins with 0") as caught:
            parse(before + number + after, SolverParameter)
        assert (caught.value.line, caught.value.column) == (1, len(before) + 1)


def test_a_list_is_printed_one_value_a_line() -> None:
    """A repeated number is printed as Caffe does, one a line."""
    assert to_text(parse_solver("test_iter: [1, 2]")) == "test_iter: 1\ntest_iter: 2\n"


def test_document_of_takes_all_that_stands_for_a_net() -> None:
    """A path, a message and a document give a document; an error in a message shows the message's own text."""
    message = parse_net('name: "x"\nlayer { name: "y" }')
    document = document_of(message, NetParameter)
    assert document_of(document, NetParameter) is document
    assert document.error("wrong", "layer", 0, "name").source_line == '  name: "y"'
    assert document_of(str(ZOO / "nin.prototxt"), NetParameter).message == read_net(ZOO / "nin.prototxt")


def test_an_error_inside_a_part_stands_in_the_whole_text() -> None:
    """A net inside a solver's text is wrong at the line of the solver's text."""
    document = parse('net_param {\n  layer { name: "a" }\n}', SolverParameter)
    part = document.part(document.message.net_param, "net_param", 0)
    assert part.position("layer", 0, "name", 0) == (2, 11)


def test_a_field_that_was_not_written_is_shown_at_what_holds_it() -> None:
    """The position of an absent field is that of the nearest message around it, at worst the start."""
    document = parse('\nlayer {\n  name: "a"\n}', NetParameter)
    assert document.position("layer", 0, "type", 0) == (2, 1)
    assert document.position("layer", 0, "name") == (3, 3)
    assert document.position("name") == (1, 1)


# --- the files that a text names -------------------------------------------------------------------------------------


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Document[NetParameter]:
    """The document of work/zoo/net.prototxt, read from the working directory elsewhere."""
    for folder in ("work/zoo", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "work/zoo/net.prototxt").write_text("")
    monkeypatch.chdir(tmp_path / "elsewhere")
    return read(Path("../work/zoo/net.prototxt"), NetParameter)


@pytest.mark.parametrize(
    "places",
    [
        ["elsewhere/lmdb", "work/zoo/lmdb", "work/lmdb"],
        ["work/zoo/lmdb", "work/lmdb"],
        ["work/lmdb", "lmdb"],
        ["lmdb"],
    ],
    ids=lambda places: places[0],
)
def test_find(document: Document[NetParameter], tmp_path: Path, places: list[str]) -> None:
    """A relative path means the working directory, then the text's own folder, then those above it."""
    for place in places:
        (tmp_path / place).mkdir()
    assert document.find("lmdb").resolve() == tmp_path / places[0]


def test_find_without_a_find(document: Document[NetParameter], tmp_path: Path) -> None:
    """What is nowhere (the root does not count) is looked for where Caffe would; an absolute path means itself."""
    assert Path("/lmdb") not in document.places("lmdb")
    assert document.find("lmdb") == Path("lmdb")
    assert document.find(str(tmp_path / "lmdb")) == tmp_path / "lmdb"


def test_a_text_without_a_file_finds_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parsed text has no folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lmdb").mkdir()
    document = parse("", NetParameter)
    assert document.find("lmdb") == Path("lmdb")
    assert document.places("lmdb") == [Path("lmdb")]


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "changed"),
    [
        ("base_lr=0.5", "base_lr: 0.5"),
        (" base_lr = 0.5 ", "base_lr: 0.5"),
        ("solver_mode=CPU", "solver_mode: CPU"),
        ("debug_info=true", "debug_info: true"),
        ("snapshot_prefix=a b", 'snapshot_prefix: "a b"'),
        ("snapshot_prefix=", 'snapshot_prefix: ""'),
        ("snapshot_prefix='a'", 'snapshot_prefix: "a"'),
        ('snapshot_prefix="a"', 'snapshot_prefix: "a"'),
        ('snapshot_prefix=a"b', 'snapshot_prefix: "a\\"b"'),
        ("snapshot_prefix=C:\\new", 'snapshot_prefix: "C:\\\\new"'),
        ("net=a=b#c", 'net: "a=b#c"'),
        ("test_iter=7", "test_iter: 7"),
        ("test_iter=[10, 20]", "test_iter: [10, 20]"),
        ("test_iter=10, 20", "test_iter: [10, 20]"),
        ("net_param.input_dim=1,3", "net_param { input_dim: [1, 3] }"),
        ("train_state.level=1", 'train_state { level: 1 stage: "old" }'),
        ("train_state.stage=deploy", 'train_state { level: 9 stage: "deploy" }'),
        ("train_state.stage=['a', 'b']", 'train_state { level: 9 stage: "a" stage: "b" }'),
        ("train_state={ level: 2 }", 'train_state { level: 2 stage: "old" }'),
        ("net_param.state.level=3", "net_param { state { level: 3 } }"),
        ("weights=a.caffemodel", 'weights: "a.caffemodel"'),
    ],
)
def test_set_field(assignment: str, changed: str) -> None:
    """A setting changes its field and no other: a list is replaced, a message is entered."""
    solver = SolverParameter(test_iter=[1, 2, 3], train_state=NetState(stage=["old"], level=9))
    expected = SolverParameter()
    expected.CopyFrom(solver)
    change = parse_solver(changed)
    for field, _ in change.ListFields():
        expected.ClearField(field.name)  # type: ignore[arg-type]
    expected.MergeFrom(change)
    set_field(solver, assignment)
    assert solver == expected


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("base_lr", "not of the form key=value"),
        ("=1", "a field's name is expected here"),
        ("base_lr=", '"base_lr" has no value: a number is expected'),
        ("base_lr=fast", "a number is expected here, not fast"),
        ("base_lr=nan", "nan is not a number"),
        ("base_lr=1 }", "closes nothing"),
        ("max_iter=1,5", '"max_iter" takes one value, not 1,5'),
        ("net_param.state.level=1,", '"level" takes one value, not 1,'),
        ("test_iter=1,x", "a whole number is expected here, not x"),
        ("max_iter=1.5", "a whole number is expected here, not 1.5"),
        ("max_itre=1", 'did you mean "max_iter"?'),
        ("train_state.levle=1", 'did you mean "level"?'),
        ("base_lr.x=1", '"base_lr" is no message inside SolverParameter'),
        ("trian_state.level=1", '"trian_state" is no message inside SolverParameter'),
        ("train_state=1", '"{" is expected here'),
        ("solver_mode=TPU", "TPU is none of CPU, GPU"),
        ('snapshot_prefix="a', "this string has no closing quote"),
    ],
)
def test_a_wrong_setting(assignment: str, reason: str) -> None:
    """A wrong setting is refused with its reason, and nothing is changed."""
    solver = SolverParameter(max_iter=3)
    with pytest.raises(SpecError) as caught:
        set_field(solver, assignment)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("--set:")
    assert solver == SolverParameter(max_iter=3)
