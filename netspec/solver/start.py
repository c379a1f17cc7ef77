"""What is looked at before the first iteration, so that a run of days does not end in what could be seen at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from netspec.data.unit_pixels import unit_numbers
from netspec.files import make_folder
from netspec.log import logger
from netspec.net import Net
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver import snapshot as snapshots
from netspec.spec import Document
from netspec.weights import file_names


def check_train_net(net: Net) -> None:
    """SpecError where a net cannot be trained: two layers' blobs cannot be told apart in a snapshot, nothing counts as
    a loss, or nothing learns."""
    net.check_names()
    if not net.loss_weights:
        raise net.graph.document.error("nothing to learn from: the train net has no loss")
    if not any(param.lr_mult for param in net.params):
        raise net.graph.document.error("nothing to learn: no layer of the train net has a blob with an lr_mult but 0")


def look_at_data(net: Net) -> None:
    """Check the labels and decode what is decoded once. What is wrong with the data, and Ctrl-C, then end a run before
    it has begun."""
    net.check_labels()
    for _, source in net.sources:
        source.prepare()


def load_weights(net: Net, document: Document[SolverParameter], names: Iterable[str]) -> None:
    """Start from weights files (one name may hold several, with commas), and log what of them was used."""
    for name in (name for text in names for name in file_names(text)):
        report = net.load(document.find(name))
        logger.info("Finetuning from %s: copied %s", name, ", ".join(report.copied))
        if report.absent:
            logger.info("not in it, as the fillers made them: %s", ", ".join(report.absent))
        if report.left_over:
            logger.info("only in it, not used: %s", ", ".join(report.left_over))


def introduce(net: Net, solver: SolverParameter, seed: int) -> None:
    """Caffe's first lines, and what is trained where; a warning where numbers are meant for other pixels."""
    logger.info("Solving %s", net.graph.name)
    logger.info("Learning Rate Policy: %s", solver.lr_policy)
    count = sum(parameter.numel() for parameter in net.parameters())
    logger.info("%d parameters, on %s, random_seed %d", count, net.device, seed)
    for node, _ in net.sources:
        for _, reason in unit_numbers(node.param):
            logger.warning('layer "%s": %s', node.name, reason)


def look_at_place(prefix: str, fresh: bool) -> None:
    """SnapshotError where no snapshot can be written; a warning where a new run meets those of an earlier one."""
    make_folder(Path(prefix).parent, "the folder for the snapshots")
    if fresh and (earlier := snapshots.snapshots(prefix)):
        logger.warning("%s is of an earlier run; --resume without a name would take it", earlier[0])
