"""Every layer type, one family a file; importing this package registers them all in `LAYER_TYPES`."""

import importlib
import pkgutil

from netspec.layers.base import LAYER_TYPES, Layer, LayerError, LayerType, layer

__all__ = ["LAYER_TYPES", "Layer", "LayerError", "LayerType", "layer"]

for _family in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_family.name}")
