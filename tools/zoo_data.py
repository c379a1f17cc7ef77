"""The data before the nets of the zoo, transformed as their studies did it."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from netspec import NetSpec
from netspec import layers as L

CLASSES = 200

Fields: TypeAlias = dict[str, Any]

_TINY, _IMAGENET = "data/tiny-imagenet", "data/ilsvrc12"
_MEAN_IMAGE = {"mean_file": f"{_TINY}/mean.binaryproto"}
# Of Tiny ImageNet's train images, in BGR.
_MEAN = [101.36, 114.26, 122.46]
_SCALED = {"mean_value": _MEAN, "std_value": [71.81, 68.56, 70.49]}
# Of ImageNet's, as PyTorch's own nets have them: 0.406, 0.456, 0.485 and 0.225, 0.224, 0.229 times 255.
_SCALED_BY_IMAGENET = {"mean_value": [103.53, 116.28, 123.675], "std_value": [57.375, 57.12, 58.395]}
_VARIED = {"mirror": True, "rotation": 10, "shift": 0.1, "contrast_min": 0.7, "contrast_max": 1.3}
_MIDDLE = {"crop_size": 56, "output_size": 64}
_BEST_CROP = {"mirror": True, "random_resized_crop": {"area_min": 0.5}, "crop_size": 64}


class Transforms(NamedTuple):
    """What is done to the images in training and in tests; and in training in the stage "best" where a net has one, and
    in its tests where these differ then: a mean image fits no images that are cropped at random sizes."""

    train: Fields
    test: Fields
    best: Fields | None = None
    best_test: Fields | None = None


PLAIN = Transforms({"mirror": True, **_MEAN_IMAGE}, _MEAN_IMAGE)
"""Whole images, mirrored in training."""

BOIGNE = Transforms(
    {
        **_SCALED,
        "copy": {"mirror": True, "mirror_or_rotate": True, "rotation_choice": [-10, -8, -6, 6, 8, 10], **_SCALED},
    },
    _SCALED,
    best={**_BEST_CROP, **_SCALED},
)
"""Boigne and Heyse's: each image once as it is, and once mirrored or rotated."""

BASTIDAS = Transforms(
    {"rotation": 60, "zoom_max": 1.2, "shift": 0.1, "fill": [round(value) for value in _MEAN], **_MEAN_IMAGE},
    _MEAN_IMAGE,
    best={**_BEST_CROP, "mean_value": _MEAN},
    best_test={"mean_value": _MEAN},
)
"""Bastidas's: rotated, enlarged and shifted."""

IRVINE = Transforms({**_VARIED, **_MEAN_IMAGE}, _MEAN_IMAGE)
"""The course project's: mirrored, shifted, rotated, and of another contrast."""

MKRTCHYAN = Transforms(
    {
        "mirror": True, "center_crop": True, **_MIDDLE, **_SCALED_BY_IMAGENET,
        "copy": {"rotation": 10, "mirror": True, "mirror_vertical": True, "blur_kernel": 5, **_SCALED_BY_IMAGENET},
    },
    {**_MIDDLE, **_SCALED_BY_IMAGENET},
    best={**_BEST_CROP, **_SCALED_BY_IMAGENET},
)  # fmt: skip
"""Mkrtchyan's: each image through both sets of transforms."""


def without_mean_image(transforms: Transforms, mean: list[float]) -> Transforms:
    """Transforms with the mean of each channel, in BGR, in place of the mean image."""
    train, test = ({**fields, "mean_value": mean} for fields in transforms[:2])
    del train["mean_file"], test["mean_file"]
    return Transforms(train, test)


def start(batch: int, transforms: Transforms = PLAIN) -> NetSpec:
    """A spec with Tiny ImageNet."""
    return _start(_TINY, batch, 100, transforms)


def start_imagenet(batch: int, test_batch: int, size: int, mean: list[float]) -> NetSpec:
    """A spec with ImageNet: crops of `size`, mirrored in training, less the `mean` of each channel in BGR."""
    test = {"crop_size": size, "mean_value": mean}
    return _start(_IMAGENET, batch, test_batch, Transforms({"mirror": True, **test}, test))


def _start(folder: str, batch: int, test_batch: int, transforms: Transforms) -> NetSpec:
    n = NetSpec()
    train = {"source": f"{folder}/train_lmdb", "batch_size": batch, "backend": "LMDB", "shuffle": True}
    test = {"source": f"{folder}/val_lmdb", "batch_size": test_batch, "backend": "LMDB"}
    twin = {"name": "data", "top": ["data", "label"], "ntop": 0}
    n.data, n.label = L.Data(
        ntop=2, include=_phase("TRAIN", transforms.best), transform_param=transforms.train, data_param=train
    )
    if transforms.best:
        best = {"include": {"phase": "TRAIN", "stage": "best"}, "transform_param": transforms.best}
        n.best_data = L.Data(**twin, **best, data_param={**train, "batch_size": 100})
    include = _phase("TEST", transforms.best_test)
    n.test_data = L.Data(**twin, include=include, transform_param=transforms.test, data_param=test)
    if transforms.best_test:
        best = {"include": {"phase": "TEST", "stage": "best"}, "transform_param": transforms.best_test}
        n.best_test_data = L.Data(**twin, **best, data_param=test)
    return n


def _phase(phase: str, best: Fields | None) -> Fields:
    """The rule of a layer that another one takes the place of in the stage "best", where there is one."""
    return {"phase": phase, "not_stage": "best"} if best else {"phase": phase}
