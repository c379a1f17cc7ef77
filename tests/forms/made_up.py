"""Forms that are wrong, so that a test sees who computed."""

from collections.abc import Sequence

from torch import Tensor

from netspec.forms import Form
from netspec.layers.base import Layer, Shape


class Doubled(Form):
    """Twice what InnerProduct and ReLU give."""

    name = "doubled"

    @classmethod
    def fits(cls, layers: Sequence[Layer], bottoms: Sequence[Shape]) -> bool:
        return len(bottoms[0]) == 2

    def forward(self, *bottoms: Tensor) -> Tensor:
        for layer in self.of:
            bottoms = (layer(*bottoms),)
        return 2 * bottoms[0]


class Tripled(Doubled):
    """Three times what InnerProduct gives."""

    name = "tripled"

    def forward(self, *bottoms: Tensor) -> Tensor:
        return 3 * self.of[0](*bottoms)
