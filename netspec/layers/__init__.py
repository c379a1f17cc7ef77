"""Every layer type, one family a file; importing this package registers them all in `LAYER_TYPES`.

In pycaffe's way, each type is also a function that writes a layer into a `NetSpec`::

    from netspec import layers as L
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20)
"""

import importlib
import pkgutil
from collections.abc import Callable
from functools import partial
from typing import Any

from netspec.builder import write_layer
from netspec.keywords import with_nearest
from netspec.layers.base import LAYER_TYPES, Layer, LayerError, LayerType, layer
from netspec.layers.sources import SOURCE_TYPES

__all__ = ["LAYER_TYPES", "Layer", "LayerError", "LayerType", "layer"]

for _family in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_family.name}")


def __getattr__(name: str) -> Callable[..., Any]:
    """`netspec.builder.write_layer` for the layer type `name`."""
    known = {*LAYER_TYPES, *SOURCE_TYPES, "Input"}
    if name not in known:
        raise AttributeError(with_nearest(f'there is no layer type "{name}"', name, sorted(known)))
    return partial(write_layer, name)
