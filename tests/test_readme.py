"""Every command and every piece of Python in the README runs, on small data and for few iterations."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from netspec import Net, SpecError, parse_net, parse_solver, read_net
from netspec.schema.netspec_pb2 import SolverParameter

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

INSTALLING = {"pip install -e .", "pip install -e '.[test]'", "pytest -n auto --dist loadfile"}
"""What whoever runs this test has done already."""

CHANGES = {
    "tools/get_data.py tiny-imagenet": lambda words: [*words, "--from", "tiny-imagenet-200", "--classes", "2"],
    "tools/solve.py solvers/nin.solver": lambda words: [
        *words, "--set", "max_iter=2", "--set", "data.data_param.batch_size=2", "--set", "display=1",
    ],
    "tools/solve.py solvers/resnet18": lambda words: [
        *words, "--set", "max_iter=2", "--set", "data.data_param.batch_size=2",
    ],
    "tools/kmeans.py": lambda words: [*words, "--clusters", "2", "--patches", "50"],
    "tools/bench.py": lambda words: [*words, "--nets", "nin", "--rounds", "1", "--batch", "2", "--seconds", "0.1"],
}  # fmt: skip
"""What is changed in a command so that it takes seconds and needs no download."""


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    return [text for kind, text in fenced if kind == language]


def commands() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    found = [command.strip() for line in lines for command in line.split("&&")]
    return [command for command in found if command not in INSTALLING]


def quick(command: str) -> list[str]:
    words = shlex.split(re.sub(r"_iter_(85000|1300)\b", "_iter_2", command))
    change = next((change for start, change in CHANGES.items() if command.startswith(f"python {start}")), list)
    return [sys.executable, *change(words)[1:]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as a user has it, with room of its own for data and snapshots, and a tiny Tiny ImageNet."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("zoo", "solvers", "tools", "netspec"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "tests" / "upgrade" / "v1_lenet.old.prototxt", folder / "lenet_2014.prototxt")
    base = folder / "tiny-imagenet-200"
    annotations = []
    for label, wnid in enumerate(("n01443537", "n01629819")):
        for part, name in (("train", f"{wnid}_0.JPEG"), ("train", f"{wnid}_1.JPEG"), ("val", f"val_{label}.JPEG")):
            place = base / "train" / wnid / "images" if part == "train" else base / "val" / "images"
            place.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 64), (90 * label, 40, 200)).save(place / name)
        annotations.append(f"val_{label}.JPEG\t{wnid}\t0\t0\t63\t63\n")
    shutil.copytree(base / "val" / "images", base / "test" / "images")
    (base / "wnids.txt").write_text("n01443537\nn01629819\n")
    (base / "words.txt").write_text("n01443537\tgoldfish\nn01629819\tsalamander\n")
    (base / "val" / "val_annotations.txt").write_text("".join(annotations))
    return folder


def run(words: list[str], folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(folder), "NETSPEC_CACHE": str(folder / "cache")}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_runs(command: str, folder: Path) -> None:
    """The command ends without an error, after those before it."""
    run(quick(command), folder)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_of_the_readme_runs(code: str, folder: Path) -> None:
    """The code runs as it stands, after the README's commands."""
    run([sys.executable, "-c", code], folder)


def test_the_readme_shows_the_texts_as_they_are() -> None:
    """The pieces of net and solver in the README stand in the files that it names."""
    shown = [block for block in blocks("") if block.startswith(("layer", "net:"))]
    for block, file in zip(shown[:2], ("zoo/quickstart.prototxt", "solvers/quickstart.solver"), strict=True):
        lines = (ROOT / file).read_text().splitlines()
        for line in block.splitlines():
            assert line in lines


def test_the_data_layer_of_the_readme_gives_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer for a folder of images opens the folder that it names, with its transforms."""
    _, _, text = (block for block in blocks("") if block.startswith(("layer", "net:")))
    monkeypatch.chdir(folder)
    net = Net(parse_net(text), "TRAIN")
    ((_, source),) = net.sources
    images, labels = source.next()
    net.close()
    assert tuple(images.shape) == (100, 3, 56, 56) and set(labels.tolist()) == {0, 1}


def test_the_recipe_of_the_readme_trains(folder: Path) -> None:
    """The fields that the README shows are a recipe for its quickstart."""
    (recipe,) = (block for block in blocks("") if block.startswith("type:"))
    own = {line.partition(":")[0] for line in recipe.splitlines()}
    fixed = {"gamma", "stepvalue", "momentum", "snapshot_prefix", "max_iter"}
    lines = (ROOT / "solvers/quickstart.solver").read_text().splitlines()
    kept = [line for line in lines if line.partition(":")[0] not in own | fixed]
    text = "\n".join([*kept, recipe, 'momentum: 0.9 max_iter: 310 snapshot_prefix: "snapshots/recipe/recipe"'])
    (folder / "recipe.solver").write_text(text)
    run([sys.executable, "tools/solve.py", "recipe.solver"], folder)
    written = sorted(path.name for path in (folder / "snapshots/recipe").glob("*.safetensors"))
    assert "recipe_iter_310.safetensors" in written and "recipe_iter_310_ema.safetensors" in written
    assert sum(name.startswith("recipe_best_iter_") for name in written) == 2


def test_the_fields_of_speed_in_the_readme_are_there() -> None:
    """Every field that the README names for speed can be written in a solver as it stands there."""
    (block,) = (block for block in blocks("") if block.startswith("fast:"))
    lines = [line.partition("#")[0].strip() for line in block.splitlines()]
    assert [next(iter(parse_solver(line).ListFields()))[0].name for line in lines] == ["fast", "exact", "precision"]
    for name in re.findall(r"\w+(?=,| and|\b likewise)", block.splitlines()[2].partition("itself; ")[2]):
        assert name in SolverParameter.DESCRIPTOR.fields_by_name


def test_the_readme_shows_the_error_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake that the README shows gets the message that it shows."""
    (tmp_path / "zoo").mkdir()
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "zoo/quickstart.prototxt").read_text().replace("kernel_size", "kernel_sise", 1)
    Path("zoo/quickstart.prototxt").write_text(text)
    with pytest.raises(SpecError) as error:
        read_net("zoo/quickstart.prototxt")
    assert f"{error.value}\n" in blocks("")
