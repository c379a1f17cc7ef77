"""Gaussian blur, against torchvision's own one image at a time."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from netspec.data.blur import Blur
from netspec.data.draws import Draw, Draws
from netspec.schema.netspec_pb2 import TransformationParameter

DRAWS = Draws(np.arange(9), 5)


@pytest.mark.parametrize("size", [1, 3, 5, 9])
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 12, 20)])
def test_agrees_with_torchvision(size, shape):
    """Each image is what torchvision's gaussian_blur makes of it with the sigma drawn for it, to 1e-4 of 255."""
    blur = Blur(TransformationParameter(blur_kernel=size, blur_sigma_min=0.125, blur_sigma_max=2))
    images = torch.rand(9, *shape, generator=torch.Generator().manual_seed(0)) * 255
    made = blur(images.clone(), torch.from_numpy(blur.draw(DRAWS)).float())
    for i, image in enumerate(images):
        sigma = float(DRAWS.uniform(Draw.SIGMA, 0.125, 2)[i])
        torch.testing.assert_close(made[i], tv.gaussian_blur(image, [size, size], [sigma]), rtol=0, atol=0.0255)
