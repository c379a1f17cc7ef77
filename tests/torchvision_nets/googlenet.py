"""GoogLeNet with its auxiliary classifiers, as torchvision has it (after Szegedy et al., 2014)."""

from zoo_blocks import dropout, full, pool, relu
from zoo_googlenet import cbr, classifier, inceptions

from netspec import NetSpec
from netspec.builder import Top


def googlenet(n: NetSpec, classes: int, ratio: float = 0.2, aux_ratio: float = 0.7, train: bool = False) -> None:
    """Outputs fc, and with `train` aux1/fc and aux2/fc, each (N, classes). With `train` the images have 256 pixels: the
    windows of 4 x 4 are then the bins of torchvision's adaptive pooling."""
    x = inceptions(n, n.data)
    if train:
        for name, bottom in (("aux1", n["inception_4a"]), ("aux2", n["inception_4d"])):
            _aux(n, name, bottom, classes, aux_ratio)
    classifier(n, x, classes, ratio)


def _aux(n: NetSpec, name: str, bottom: Top, classes: int, ratio: float) -> None:
    x = cbr(n, f"{name}/conv", pool(n, f"{name}/pool", bottom, 4, 4, pool="AVE"), 128, 1)
    x = relu(n, f"{name}/fc1", full(n, f"{name}/fc1", x, 1024))
    full(n, f"{name}/fc", dropout(n, name, x, ratio), classes)
