"""What a snapshot holds besides weights and history: the parts of a run that Caffe does not store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from typing import Protocol

import numpy as np
import torch

from netspec.layers.sources import Source
from netspec.log import logger
from netspec.net import Net
from netspec.schema.netspec_pb2 import DataPosition, RandomState, RunState
from netspec.spec import to_text

_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
)
"""Environment variables by which the libraries below PyTorch choose other instructions or another precision."""


class Stored(Protocol):
    """A part of a run that has a place of its own in a snapshot."""

    def store(self, run: RunState) -> None:
        """Put what there is now into a snapshot."""

    def restore(self, run: RunState) -> None:
        """Take up what a snapshot holds."""


class Positions:
    """Where the data layers stand and in which sets, and the seed of their draws."""

    def __init__(self, train_net: Net, test_nets: Callable[[], Sequence[Net]], seed: int) -> None:
        self._train_net, self._test_nets = train_net, test_nets
        self.seed = seed

    def store(self, run: RunState) -> None:
        run.seed = self.seed
        for net, layer, source in self._sources():
            contents = source.contents
            place = DataPosition(net=net, layer=layer, position=source.position, records=source.epoch_size)
            place.content = contents.digest
            place.class_name.extend(contents.classes)
            run.position.append(place)

    def restore(self, run: RunState) -> None:
        """The sets stay what they are; a line says where one is another than that of the snapshot."""
        self.seed = run.seed
        places = {(stored.net, stored.layer): stored for stored in run.position}
        for net, layer, source in self._sources():
            source.reseed(run.seed)
            place = places.get((net, layer), DataPosition())
            source.position = place.position
            if difference := _difference(place, source):
                logger.warning('the data of layer "%s" (%s) is not that of the snapshot: %s', layer, net, difference)

    def _sources(self) -> Iterator[tuple[str, str, Source]]:
        tests = ((f"test {index}", net) for index, net in enumerate(self._test_nets()))
        for name, net in (("train", self._train_net), *tests):
            for node, source in net.sources:
                yield name, node.name, source


def _difference(place: DataPosition, source: Source) -> str:
    """What a set was in a snapshot and what it is, where that is known and not the same."""
    contents = source.contents
    if not place.content or place.content == contents.digest:
        return ""
    found = []
    if place.records != source.epoch_size:
        found.append(f"it had {place.records} records, now {source.epoch_size}")
    pairs = zip_longest(place.class_name, contents.classes, fillvalue="none")
    if renamed := [(number, was, now) for number, (was, now) in enumerate(pairs) if was != now]:
        found.append("class {} was {}, now {}".format(*renamed[0]))
    same_count = f"the names, order, labels or sizes of its {source.epoch_size} records are others than they were"
    return "; ".join(found) or same_count


class NetText:
    """The text of the net."""

    def __init__(self, net: Net) -> None:
        self._text = to_text(net.graph.document.message)

    def store(self, run: RunState) -> None:
        run.net = self._text

    def restore(self, run: RunState) -> None:
        """Nothing is changed; a line says where the net is another."""
        if run.net != self._text:
            logger.warning("the net is not the one of the snapshot, though its blobs fit")


class Environment:
    """What the bits of a result depend on besides the texts and the data."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @property
    def lines(self) -> list[str]:
        """One line a setting."""
        cudnn = torch.backends.cudnn
        settings: dict[str, object] = {
            "torch": torch.__version__,
            "device": self._device.type,
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "mkldnn": torch.backends.mkldnn.enabled,
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "float32_matmul_precision": _told(torch.get_float32_matmul_precision),
        }
        if self._device.type == "cuda":
            settings["gpu"] = torch.cuda.get_device_name(self._device)
            settings |= {"cuda": torch.version.cuda, "cudnn": cudnn.version()}  # type: ignore[no-untyped-call]
            for name in ("allow_tf32", "benchmark", "deterministic"):
                settings[f"cudnn.{name}"] = _told(partial(getattr, cudnn, name))
        settings |= {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        return [f"{name} {value}" for name, value in settings.items()]

    def store(self, run: RunState) -> None:
        run.environment = "\n".join(self.lines)

    def restore(self, run: RunState) -> None:
        """Nothing is changed; one line says what differs."""
        before, now = run.environment.splitlines(), self.lines
        gone = [line for line in before if line not in now]
        come = [line for line in now if line not in before]
        if before and (gone or come):
            counterparts = (", ".join(gone) or "fewer settings", ", ".join(come) or "without")
            logger.warning("bits may differ: the snapshot was made with %s; here it is %s", *counterparts)


def _told(setting: Callable[[], object]) -> object:
    """A setting of PyTorch; it refuses to tell one that the user has given for each operation."""
    try:
        return setting()
    except RuntimeError:
        return "mixed"


class Randomness:
    """The states of torch's generators: the CPU's and the device's."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def store(self, run: RunState) -> None:
        run.random.append(RandomState(device="cpu", state=torch.get_rng_state().numpy().tobytes()))
        if self._device.type == "cuda":
            state = torch.cuda.get_rng_state(self._device).numpy().tobytes()
            run.random.append(RandomState(device="cuda", state=state))

    def restore(self, run: RunState) -> None:
        for stored in run.random:
            state = torch.from_numpy(np.frombuffer(stored.state, np.uint8).copy())
            if stored.device == "cpu":
                torch.set_rng_state(state)
            elif self._device.type == "cuda":
                torch.cuda.set_rng_state(state, self._device)
