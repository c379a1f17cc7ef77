"""Brightness, contrast and saturation, against torchvision's own one image at a time."""

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from torchvision.transforms.v2 import functional as tv

from netspec.data.colour import Colour
from netspec.data.draws import Draw, Draws
from netspec.schema.netspec_pb2 import TransformationParameter

DRAWS = Draws(np.arange(12), 5)
STEPS = {
    "brightness": (Draw.BRIGHTNESS, tv.adjust_brightness),
    "contrast": (Draw.CONTRAST, tv.adjust_contrast),
    "saturation": (Draw.SATURATION, tv.adjust_saturation),
}


@pytest.mark.parametrize("names", [("brightness",), ("contrast",), ("saturation",), tuple(STEPS)])
@pytest.mark.parametrize("channels", [1, 3])
def test_agrees_with_torchvision(names, channels):
    """Each image is what torchvision makes of it, RGB from 0 to 1, with the same factors, to 1e-5 of 255."""
    text = " ".join(f"{name}_min: 0 {name}_max: 2.5" for name in names)
    colour = Colour(text_format.Parse(text, TransformationParameter()))
    images = torch.rand(12, channels, 6, 7, generator=torch.Generator().manual_seed(0)) * 255
    made = colour(images.clone(), torch.from_numpy(colour.draw(DRAWS)).float())
    for i, image in enumerate(images.flip(1) / 255):
        for name in names:
            draw, step = STEPS[name]
            image = step(image, DRAWS.uniform(draw, 0, 2.5)[i])
        torch.testing.assert_close(made[i], image.flip(0) * 255, rtol=0, atol=0.00255)


def test_only_what_is_asked_for_is_drawn():
    """Factors that can only be 1 are no work."""
    for text, wanted in (("", 0), ("brightness_min: 1 contrast_max: 1", 0), ("contrast_min: 0.7 contrast_max: 1.3", 1)):
        param = text_format.Parse(text, TransformationParameter())
        assert Colour.wanted(param) == bool(wanted)
    assert Colour(param).draw(DRAWS).shape == (12, 1)
