"""Writes nets from Python, in pycaffe's way: ``n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20)``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from netspec.keywords import layer_parameter, with_nearest
from netspec.schema.netspec_pb2 import LayerParameter, NetParameter


class Top:
    """The `n`-th top of a layer: what other layers take as a bottom."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn, self.n = fn, n

    def to_proto(self) -> NetParameter:
        """The net of all layers that this top needs."""
        return to_proto(self)


class Function:
    """A layer before it has a name: its type, the tops that it reads, and its keywords, checked."""

    def __init__(
        self, type_name: str, bottoms: Iterable[Top], params: Mapping[str, Any], ntop: int = 1, in_place: bool = False
    ) -> None:
        self.type_name, self.bottoms, self.in_place = type_name, list(bottoms), in_place
        self.tops = tuple(Top(self, n) for n in range(ntop))
        for index, bottom in enumerate(self.bottoms):
            if not isinstance(bottom, Top):
                kind = type(bottom).__name__
                raise TypeError(f"{type_name}: bottom {index} is of type {kind}; it must be a top of another layer")
        if in_place and ntop > len(self.bottoms):
            raise TypeError(f"{type_name}: in_place needs a bottom for each top")
        self.params: dict[str, Any] = {}
        self.param = LayerParameter()
        self.update(params)

    def update(self, params: Mapping[str, Any]) -> None:
        """Give keywords, also in place of those given before. TypeError or ValueError where one is wrong."""
        params = {**self.params, **params}
        self.param = layer_parameter(self.type_name, params)
        self.params = params


Layer: TypeAlias = Top | Function
"""What stands for a layer in a spec: its top or, where it has none, itself."""


class NetSpec:
    """A net under construction. Assigning a top names it, and its layer after its first top.

    ::

        n = NetSpec()
        n.data, n.label = L.Data(source="train_lmdb", batch_size=64, ntop=2)
        n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
        n.relu1 = L.ReLU(n.conv1, in_place=True)
        n["block/pool"] = L.Pooling(n.relu1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
        n.to_proto()

    `tops` are the tops (and layers without a top) by name, in order. As in pycaffe, a name that is also a method's can
    be read by item only.
    """

    tops: dict[str, Layer]

    def __init__(self) -> None:
        vars(self)["tops"] = {}

    def __setattr__(self, name: str, value: Layer) -> None:
        self[name] = value

    def __getattr__(self, name: str) -> Any:
        tops = vars(self).get("tops", {})
        if name not in tops:
            raise AttributeError(with_nearest(f'the net has no top "{name}"', name, tops))
        return tops[name]

    def __setitem__(self, name: str, value: Layer) -> None:
        if isinstance(value, tuple) and all(isinstance(top, Top) for top in value):
            raise TypeError(f'"{name}" names one top, but the layer has {len(value)}: give each a name')
        if not isinstance(value, Layer):
            raise TypeError(f'"{name}" must be a top of a layer, not of type {type(value).__name__}')
        self.tops[name] = value

    def __getitem__(self, name: str) -> Any:
        if name not in self.tops:
            raise KeyError(with_nearest(f'the net has no top "{name}"', name, self.tops))
        return self.tops[name]

    def __delitem__(self, name: str) -> None:
        del self.tops[name]

    def keys(self) -> list[str]:
        """The names given so far."""
        return list(self.tops)

    def vals(self) -> list[Layer]:
        """What was named so far."""
        return list(self.tops.values())

    def update(self, name: str, params: Mapping[str, Any]) -> None:
        """Give the layer of a top more keywords, also in place of those that it has."""
        _function(self[name]).update(params)

    def to_proto(self) -> NetParameter:
        """The net of all named tops and of what they need, in the order of naming."""
        return _net(self.tops.values(), {top: name for name, top in self.tops.items()})


def to_proto(*tops: Layer) -> NetParameter:
    """The net of all layers that some tops need, each top named after its type and number: Convolution1."""
    return _net(tops, {})


def write_layer(
    type_name: str, *bottoms: Top, ntop: int = 1, in_place: bool = False, **params: Any
) -> Top | tuple[Top, ...] | Function:
    """A layer of type `type_name`: its top, its tops where `ntop` is more than 1, itself where it is 0.

    Keywords are fields of the type's own message, otherwise of LayerParameter (``name``, ``param``, ``include``,
    ``convolution_param``). A message is a dict; a repeated field takes a list or one value; an enum's value may be its
    name. TypeError or ValueError for a field that does not exist or does not take the value.
    """
    fn = Function(type_name, bottoms, params, ntop, in_place)
    return fn if ntop == 0 else fn.tops[0] if ntop == 1 else fn.tops


def _function(layer: Layer) -> Function:
    return layer.fn if isinstance(layer, Top) else layer


def _net(layers: Iterable[Layer], names: Mapping[Layer, str]) -> NetParameter:
    """The net of `layers` and of all that they read. Those without a name are numbered by type."""
    numbers: Counter[str] = Counter()
    taken, given = set(names.values()), dict(names)

    def name_of(layer: Layer) -> str:
        kind = _function(layer).type_name
        while layer not in given:
            numbers[kind] += 1
            if (name := f"{kind}{numbers[kind]}") not in taken:
                given[layer] = name
        return given[layer]

    net, blobs = NetParameter(), dict[Top, str]()
    for fn in _in_order(_function(layer) for layer in layers):
        param = net.layer.add(type=fn.type_name, bottom=[blobs[bottom] for bottom in fn.bottoms])
        for n, top in enumerate(fn.tops):
            blobs[top] = param.bottom[n] if fn.in_place else name_of(top)
            param.top.append(blobs[top])
        param.name = name_of(fn.tops[0] if fn.tops else fn)
        param.MergeFrom(fn.param)  # a name given as a keyword wins; bottoms and tops so given come behind
    return net


def _in_order(wanted: Iterable[Function]) -> list[Function]:
    """The wanted layers and all that they read, each behind what it reads, in the order of the bottoms."""
    order: dict[Function, None] = {}
    waiting = list(wanted)[::-1]
    while waiting:
        missing = [bottom.fn for bottom in waiting[-1].bottoms if bottom.fn not in order]
        if missing:
            waiting.append(missing[0])
        else:
            order.setdefault(waiting.pop())
    return list(order)
