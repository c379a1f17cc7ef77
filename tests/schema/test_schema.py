"""The schema holds all of Caffe's, says what each thing means, and its generated modules are up to date."""

import re
import shutil
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from hypothesis import given
from hypothesis import strategies as st

from netspec.schema import netspec_pb2, weights_pb2

ROOT = Path(__file__).parents[2]
FIRST_OF_OURS = 10_000
PROTOS = ["netspec/schema/netspec.proto", "netspec/schema/weights.proto"]
GENERATED = [f"netspec/schema/{stem}_pb2.{suffix}" for stem in ("netspec", "weights") for suffix in ("py", "pyi")]

Row = tuple[str, ...]
Location = tuple[int, ...]

# Caffe's schema: ("enum", enum, value, number) or ("field", message, field, number, label, type, default).
CAFFE: set[Row] = {
    tuple(line.split("\t")[: 4 if line.startswith("enum") else 7])
    for line in (ROOT / "tests/golden/schema.tsv").read_text().splitlines()
}
CAFFE_NAMES = {row[1] for row in CAFFE}


@pytest.fixture(scope="module")
def protoc() -> str:
    """The compiler that wrote the committed modules: another version writes other bytes."""
    found = shutil.which("protoc", path=str(Path(sys.executable).parent)) or shutil.which("protoc")
    if found is None:
        pytest.skip("protoc is not installed")
    header = re.search(r"Protobuf Python Version: \d+\.(\S+)", (ROOT / GENERATED[0]).read_text())
    assert header is not None
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    if version != header[1]:
        pytest.skip(f"protoc is {version}, the modules are from {header[1]}")
    return found


@pytest.fixture(scope="module")
def compiled(protoc: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what protoc makes of the schema now: the modules, and `descriptors` with the comments."""
    out = tmp_path_factory.mktemp("schema")
    outputs = [f"--python_out={out}", f"--pyi_out={out}", f"--descriptor_set_out={out / 'descriptors'}"]
    subprocess.run([protoc, "-I.", *outputs, "--include_source_info", *PROTOS], cwd=ROOT, check=True)
    return out


def field_row(message: str, field: FieldDescriptorProto) -> Row:
    """The row of the table for one field."""
    label = field.Label.Name(field.label).removeprefix("LABEL_").lower()
    named = field.type_name.removeprefix(".netspec.")
    kind = named or field.Type.Name(field.type).removeprefix("TYPE_").lower()
    default = " [packed]" if field.options.packed else field.default_value
    if kind == "float" and field.default_value:
        default = f"{float(field.default_value):g}"  # protoc writes 1e-08 as 9.99999994e-09
    return ("field", message, field.name, str(field.number), label, kind, default)


def schema_rows(file: FileDescriptorProto) -> Iterator[Row]:
    """The rows of the table for a whole file, ours included."""
    enums = [(enum.name, enum) for enum in file.enum_type]
    for message in file.message_type:
        yield from (field_row(message.name, field) for field in message.field)
        enums += [(f"{message.name}.{enum.name}", enum) for enum in message.enum_type]
    for name, enum in enums:
        yield from (("enum", name, value.name, str(value.number)) for value in enum.value)


def declarations(file: FileDescriptorProto) -> Iterator[tuple[Location, str]]:
    """Location (a path as in SourceCodeInfo) and name of every message, field, enum and enum value."""
    enums: list[tuple[Location, EnumDescriptorProto]] = [
        ((FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, i), enum) for i, enum in enumerate(file.enum_type)
    ]
    for i, message in enumerate(file.message_type):
        at: Location = (FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER, i)
        yield at, message.name
        for j, field in enumerate(message.field):
            yield (*at, DescriptorProto.FIELD_FIELD_NUMBER, j), f"{message.name}.{field.name}"
        enums += [((*at, DescriptorProto.ENUM_TYPE_FIELD_NUMBER, j), enum) for j, enum in enumerate(message.enum_type)]
    for at, enum in enums:
        yield at, enum.name
        for j, value in enumerate(enum.value):
            yield (*at, EnumDescriptorProto.VALUE_FIELD_NUMBER, j), f"{enum.name}.{value.name}"


@pytest.mark.parametrize("path", GENERATED)
def test_generated_module_is_what_protoc_writes(compiled: Path, path: str) -> None:
    """The committed module is, byte for byte, what protoc makes of the .proto beside it."""
    assert (ROOT / path).read_bytes() == (compiled / path).read_bytes()


def test_schema_is_caffes_below_ten_thousand() -> None:
    """Names, numbers, labels, types and defaults are Caffe's, none is missing, and ours are from 10,000 up."""
    file = FileDescriptorProto.FromString(netspec_pb2.DESCRIPTOR.serialized_pb)
    rows = {row for row in schema_rows(file) if row[1] in CAFFE_NAMES and int(row[3]) < FIRST_OF_OURS}
    assert rows == CAFFE


@pytest.mark.parametrize("path", PROTOS)
def test_everything_declared_has_a_comment(compiled: Path, path: str) -> None:
    """Every message, field, enum and enum value of the .proto says what it means, above it or at its end."""
    files = FileDescriptorSet.FromString((compiled / "descriptors").read_bytes()).file
    file = next(file for file in files if file.name == path)
    commented = {
        tuple(location.path)
        for location in file.source_code_info.location
        if (location.leading_comments + location.trailing_comments).strip()
    }
    assert [name for location, name in declarations(file) if location not in commented] == []


def test_checksum_of_solver_state_is_its_last_field() -> None:
    """No field of SolverState has a number above the checksum's, so it is written after all it covers."""
    fields = netspec_pb2.SolverState.DESCRIPTOR.fields
    assert max(fields, key=lambda field: field.number).name == "checksum"


@pytest.mark.parametrize(
    ("weights", "caffe", "of_forks"),
    [
        ("WeightsFile", "NetParameter", {}),
        ("WeightsLayer", "LayerParameter", {}),
        ("WeightsV1Layer", "V1LayerParameter", {}),
        ("WeightsV0Layer", "V0LayerParameter", {}),
        ("WeightsShape", "BlobShape", {}),
        ("WeightsBlob", "BlobProto", {"raw_data_type": 10, "raw_data": 12}),
    ],
)
def test_weights_message_has_caffes_numbers(weights: str, caffe: str, of_forks: dict[str, int]) -> None:
    """A message for weights files has the names and numbers of Caffe's, plus those of the forks it knows."""
    known = {row[2]: int(row[3]) for row in CAFFE if row[1] == caffe} | of_forks
    fields = weights_pb2.DESCRIPTOR.message_types_by_name[weights].fields
    assert {field.name: field.number for field in fields}.items() <= known.items()


@given(
    values=st.lists(st.floats(width=32, allow_nan=False), min_size=1),
    field=st.sampled_from([("data", "f"), ("double_data", "d")]),
    dim=st.lists(st.integers(0, 2**40)),
)
def test_packed_numbers_have_the_wire_form_of_bytes(
    values: list[float], field: tuple[str, str], dim: list[int]
) -> None:
    """A WeightsBlob with numbers packed into bytes is written as the BlobProto with the same numbers."""
    name, typecode = field
    packed = array(typecode, values)
    if sys.byteorder == "big":
        packed.byteswap()
    blob = netspec_pb2.BlobProto(shape={"dim": dim}, **{name: values})
    weights = weights_pb2.WeightsBlob(shape={"dim": dim}, **{name: [packed.tobytes()]})
    assert weights.SerializeToString(deterministic=True) == blob.SerializeToString(deterministic=True)
