"""What the tests of snapshots look at: the blobs of a run, and the files that it has written."""

from pathlib import Path

import torch

from netspec import Solver


def blobs(solver: Solver) -> list[torch.Tensor]:
    """Copies of every weight, statistic, averaged weight and history blob."""
    average = solver.average.values if solver.average else []
    live = [*(blob for layer in solver.net.layer_params.values() for blob in layer), *average, *solver.update.history]
    return [blob.detach().clone() for blob in live]


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    """Whether two lists of blobs are equal to the bit."""
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def names(folder: Path) -> set[str]:
    """The iterations and suffixes of the snapshot files in a folder, and whatever else is named like them."""
    return {path.name.removeprefix("run_iter_") for path in folder.iterdir() if "run_iter" in path.name}


def pairs(*iterations: int) -> set[str]:
    """What `names` finds of the snapshots of some iterations, whole and in the binary format."""
    return {f"{iteration}.{suffix}" for iteration in iterations for suffix in ("caffemodel", "solverstate")}
