"""Wrong texts by the thousand: what fingers, editors and merges do to net and solver files, drawn from one seed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from netspec.keywords import Field
from netspec.layers import LAYER_TYPES
from netspec.layers.sources import SOURCE_TYPES
from netspec.schema.netspec_pb2 import LayerParameter, NetParameter, SolverParameter

_TOKEN = re.compile(r"""#[^\n]*|"[^"\n]*"|[\w.+-]+|\s+|.""")
_NUMBER = re.compile(r"(?<![\w.\"])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.\"])")
_TYPES = [*LAYER_TYPES, *SOURCE_TYPES, "Input"]
_NUMBERS = [
    "0", "-1", "1", "2", "7", "1.5", "-0.5", "99999", "4294967295", "4294967296", "9223372036854775807", "1" * 20,
    "1e30", "1e999", "nan", "-inf", "0x10", "010", "1e-40", "0.5f", "1_000", "+3",
]  # fmt: skip
_DEBRIS = [
    "\0", "\ufeff", "\u2028", "\x85", "\x0b", "\x1b[31m", "\u202e", "é", "漢", "😀", "\ud7ff", "\r", "\t", "\\", "\\x",
    '\\"', "\\777", "$", "${X}", "$(X)", "%", "//", "/* */", "<<<<<<< HEAD\n", "...", "``", "“", "=", "->", "None",
    "True", "x" * 400, "{" * 150, "}" * 3, "<", ">", "[", "]", "[]", "[,]", "[1,]", ";", ",", ": :", "#", "'", '"',
    "\n\n",
]  # fmt: skip


def _words_of(message: Descriptor, seen: set[str]) -> set[str]:
    """All field names and enum values of a message and those inside it."""
    words: set[str] = set()
    if message.full_name not in seen:
        seen.add(message.full_name)
        for field in message.fields:
            words.add(field.name)
            words |= set(field.enum_type.values_by_name) if field.enum_type else set()
            words |= _words_of(field.message_type, seen) if field.message_type else set()
    return words


_WORDS = sorted(_words_of(NetParameter.DESCRIPTOR, set()) | _words_of(SolverParameter.DESCRIPTOR, set()))


def mutant(random: random.Random, text: str) -> str:
    """A text with one to four changes, mostly one."""
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        text = random.choice(_CHANGES)(random, text)
    return text


@st.composite
def changed(draw: st.DrawFn, text: str, pieces: Sequence[str]) -> str:
    """A text with a few parts taken out, doubled, or exchanged for others: some of the pieces, or anything. Unlike
    `mutant` for hypothesis, which then looks for the smallest change that still fails."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        new = draw(st.sampled_from(pieces) | st.text(max_size=4) | st.just(text[start:end] * 2))
        text = text[:start] + new + text[end:]
    return text


# --- changes to tokens ------------------------------------------------------------------------------------------------


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _places(tokens: Sequence[str], wanted: Callable[[str], bool]) -> list[int]:
    return [index for index, token in enumerate(tokens) if wanted(token)]


def _change_token(random: random.Random, text: str, wanted: Callable[[str], bool], new: Callable[[str], str]) -> str:
    """Put something in the place of a token of some kind."""
    tokens = _tokens(text)
    if places := _places(tokens, wanted):
        place = random.choice(places)
        tokens[place] = new(tokens[place])
    return "".join(tokens)


def _is_code(token: str) -> bool:
    return not token.isspace() and token[0] != "#"


def _delete_token(random: random.Random, text: str) -> str:
    return _change_token(random, text, _is_code, lambda token: "")


def _double_token(random: random.Random, text: str) -> str:
    return _change_token(random, text, _is_code, lambda token: f"{token} {token}")


def _swap_tokens(random: random.Random, text: str) -> str:
    tokens = _tokens(text)
    if places := _places(tokens, _is_code):
        one, other = random.choice(places), random.choice(places)
        tokens[one], tokens[other] = tokens[other], tokens[one]
    return "".join(tokens)


def _other_number(random: random.Random, text: str) -> str:
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return text
    number = random.choice(numbers)
    return text[: number.start()] + random.choice(_NUMBERS) + text[number.end() :]


def _other_word(random: random.Random, text: str) -> str:
    return _change_token(random, text, str.isidentifier, lambda token: random.choice(_WORDS))


def _other_type(random: random.Random, text: str) -> str:
    """Another layer type, its name as misspelt as may be."""
    new = random.choice(_TYPES)
    new = random.choice([new, new, new, new.lower(), new[1:], new + "s"])
    return _change_token(random, text, lambda token: token[1:-1] in _TYPES, lambda token: f'"{new}"')


def _other_string(random: random.Random, text: str) -> str:
    """Another string of the text, which mixes up blobs, names and types; or a new one."""
    known = [token for token in _tokens(text) if token[0] == '"'] or ['"x"']
    new = random.choice([*known, '""', '"x"', "'data'", '"../"', f'"{"n" * 300}"', '"\\0"', '"conv1" "b"'])
    return _change_token(random, text, lambda token: token[0] == '"', lambda token: new)


def _other_kind(random: random.Random, text: str) -> str:
    """A message for a number, a string for a word, and so on."""
    new = random.choice(["{ }", '"1"', "1", "true", "TRAIN", "[1, 2, 3]", "[]", "{ dim: 1 }", "<>", '["a", "b"]'])
    return _change_token(random, text, lambda token: _is_code(token) and token not in "{}<>:[]", lambda token: new)


def _other_quotes(random: random.Random, text: str) -> str:
    return _change_token(random, text, lambda token: token[0] == '"', lambda token: random.choice([
        token[:-1], token[1:], token[1:-1], f"'{token[1:-1]}'", f"'{token[1:]}", f"“{token[1:-1]}”"]))  # fmt: skip


# --- changes to lines, layers and anything else -----------------------------------------------------------------------


def _change_lines(random: random.Random, text: str) -> str:
    """Lines deleted, doubled or moved."""
    lines = text.split("\n")
    start = random.randrange(len(lines))
    piece = lines[start : start + random.choice([1, 1, 2, 5])]
    if random.random() < 0.6:
        del lines[start : start + len(piece)]
    if random.random() < 0.6:
        place = random.randrange(len(lines) + 1)
        lines[place:place] = piece
    return "\n".join(lines)


def _truncate(random: random.Random, text: str) -> str:
    place = random.randrange(len(text) + 1)
    return text[:place] if random.random() < 0.7 else text[place:]


def _insert_debris(random: random.Random, text: str) -> str:
    place = random.randrange(len(text) + 1)
    return text[:place] + random.choice(_DEBRIS) + text[place:]


def _delete_characters(random: random.Random, text: str) -> str:
    place = random.randrange(len(text) + 1)
    return text[:place] + text[place + random.choice([1, 1, 3, 20]) :]


def _insert_field(random: random.Random, text: str) -> str:
    """A random field behind a brace: most often one of another message."""
    field = random.choice(LayerParameter.DESCRIPTOR.fields)
    if field.message_type and random.random() < 0.7:
        field = random.choice(field.message_type.fields)
    tokens = _tokens(text)
    if places := _places(tokens, lambda token: token == "{"):
        tokens.insert(random.choice(places) + 1, f" {_field(random, field)} ")
    return "".join(tokens)


def _insert_layer(random: random.Random, text: str) -> str:
    """A layer of a random type with random fields that reads blobs of the net."""
    places = [match.start() for match in re.finditer(r"^layer", text, re.MULTILINE)] or [0]
    place = random.choice([*places, len(text)])
    return f"{text[:place]}{layer(random, text[:place])}\n{text[place:]}"


def layer(random: random.Random, before: str) -> str:
    """The text of a random layer that can stand behind some text."""
    blobs = re.findall(r'top: "([^"\n]*)"', before) or ["data"]
    bottoms = [random.choice(blobs) for _ in range(random.choice([0, 1, 1, 1, 2, 2, 3]))]
    tops = [random.choice(["x", "y", "z", *bottoms]) for _ in range(random.choice([0, 1, 1, 1, 1, 2]))]
    kind = random.choice(_TYPES)
    fields = list(LayerParameter.DESCRIPTOR.fields)
    own = [field for field in fields if field.message_type and kind in _types_of(field)]
    chosen = own * (random.random() < 0.9) + random.choices(fields[4:], k=random.choice([0, 0, 0, 1]))
    wiring = "".join([*(f' bottom: "{name}"' for name in bottoms), *(f' top: "{name}"' for name in tops)])
    return f'layer {{ name: "new" type: "{kind}"{wiring} {" ".join(_field(random, field) for field in chosen)} }}'


def _types_of(field: Field) -> list[str]:
    """The layer types that read a message of LayerParameter."""
    name = field.message_type.name.removesuffix("Parameter")
    others = {
        "Convolution": ["Deconvolution", "Im2col", "DepthwiseConvolution", "ConvolutionDepthwise"],
        "Recurrent": ["LSTM", "RNN"],
        "Loss": ["SoftmaxWithLoss", "SigmoidCrossEntropyLoss", "InfogainLoss"],
    }
    return [name, *others.get(name, [])]


def _field(random: random.Random, field: Field, depth: int = 0) -> str:
    """The text of a field with a value of its kind, most often one that makes sense."""
    if field.message_type:
        inner = field.message_type.fields
        chosen = random.sample(list(inner), min(len(inner), random.choice([0, 1, 2, 3, 5]))) if depth < 3 else []
        return f"{field.name} {{ {' '.join(_field(random, one, depth + 1) for one in chosen)} }}"
    return f"{field.name}: {_value(random, field)}"


def _value(random: random.Random, field: Field) -> str:
    if field.enum_type:
        return random.choice(list(field.enum_type.values_by_name))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return random.choice(["true", "false"])
    if field.type == FieldDescriptor.TYPE_STRING:
        return random.choice(['"x"', '"xavier"', '"gaussian"', '"bilinear"', '"L2"', '""'])
    numbers = ["0", "1", "2", "3", "5", "-1", "-2", "100000", "2147483647"]
    if field.type == FieldDescriptor.TYPE_FLOAT:
        numbers += ["0.5", "-0.5", "1e-9", "1e38", "-1e38"]
    return random.choice(numbers)


_CHANGES = [
    _delete_token, _double_token, _swap_tokens, _other_number, _other_number, _other_word, _other_type, _other_string,
    _other_string, _other_kind, _other_quotes, _change_lines, _change_lines, _truncate, _insert_debris,
    _delete_characters, _insert_field, _insert_layer, _insert_layer, _insert_layer,
]  # fmt: skip
