"""Nets of 1x1, 2x1, 1x2 and 2x2 convolutions, after VGG and after Inception-v3 (Szegedy et al., 2015)."""

from __future__ import annotations

from functools import partial

import zoo_blocks
from zoo_blocks import end, full, global_pool, pool, put
from zoo_data import BASTIDAS, CLASSES, start

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

_GLOROT = {"type": "xavier", "variance_norm": "AVERAGE"}
cbr = partial(zoo_blocks.conv_bn_relu, weight_filler=_GLOROT)


def vgg_f() -> NetParameter:
    """VGG-F, the shallowest of three of small convolutions, on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: Bastidas (2017): stacks of 1x1, 2x1, 1x2 and 2x2 convolutions that see up to 3x3, batch normalization and
    activation behind each, a few max poolings, a global average pooling, softmax; Glorot's uniform weights, a penalty
    (L2) on the convolutions' weights alone. The mean image is taken away; training images are rotated by up to 60
    degrees, enlarged up to 1.2 times and shifted both ways.
    Even kernels: Caffe pads both sides, so a padded 2x1 and a padded 1x2 make a map larger by one each way, and a 2x2
    without padding makes it as large as it was. 1x1, 2x1, 1x2 and 2x2 in a row are a unit, which sees 3x3.
    The stage "best", which solvers/vgg_f_best.solver names, trains on random resized crops instead, and takes the mean
    of each channel away, in its tests too (score.py --stage best).
    Open there: widths (64, 128 and 256 in three stages, the first two with a max pooling of 2 by 2 behind), depths (a
    unit a stage, two in VGG-Y, three in VGG-Z), the activation (ReLU), the shifts (a tenth of a side), the colour
    around a moved image (the mean). The convolutions' biases, which the study has, are those of the normalization. It
    summed the scores of its three VGGs, as tools/ensemble.py does.
    Parameters: 784,264.
    Published: curves only. Reached: 0.304 of the 500 validation images of the first 20 classes after 240 iterations of
    100 images, 0.390 with solvers/vgg_f_best.solver; the whole set has not been run yet.
    """
    return _vgg("VGG-F", 1)


def vgg_y() -> NetParameter:
    """VGG-Y, the middle one of three of small convolutions, on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: Bastidas (2017). It is zoo/vgg_f.prototxt, which says more, with two units a stage in place of one.
    The stage "best" trains on random resized crops instead: --set train_state.stage=best --set test_state.stage=best.
    Parameters: 1,561,992.
    Published: curves only. Reached: not run yet.
    """
    return _vgg("VGG-Y", 2)


def vgg_z() -> NetParameter:
    """VGG-Z, the deepest of three of small convolutions, on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: Bastidas (2017). It is zoo/vgg_f.prototxt, which says more, with three units a stage in place of one.
    The stage "best" trains on random resized crops instead: --set train_state.stage=best --set test_state.stage=best.
    Parameters: 2,339,720.
    Published: curves only. Reached: not run yet.
    """
    return _vgg("VGG-Z", 3)


def inception_v3_small() -> NetParameter:
    """A small Inception-v3 of small convolutions on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: Bastidas (2017): the modules of C. Szegedy et al., "Rethinking the Inception Architecture for Computer
    Vision" (2015), their filters cut to 1x1, 2x1, 1x2 and 2x2; fewer modules of the first two kinds, none of the last.
    Weights, penalty and training images are as in zoo/vgg_f.prototxt.
    A 3x3 of the original becomes a 2x2, and a 5x5, there as good as two of 3x3, two of 2x2; 1x7 and 7x1 become 1x2 and
    2x1, with a 2x2 at the end where the map needs one to be as large as it was. As in zoo/vgg_f.prototxt the first of
    them are padded.
    Open there: how many modules (two of each kind, of three and four), widths (the original's, the second kind's inner
    ones 128 and 160), poolings before the modules (one, so that their maps are 32 and 16 high), biases (the
    normalization's), dropout (none: the study tried it and kept the normalization).
    The stage "best" trains on random resized crops instead: --set train_state.stage=best --set test_state.stage=best.
    Parameters: 2,975,720.
    Published: curves only. Reached: not run yet.
    """
    n = start(100, BASTIDAS)
    x = cbr(n, "conv2", cbr(n, "conv1", n.data, 32, 2, pad=1), 64, 2)
    x = cbr(n, "conv3", pool(n, "pool1", x, 2, 2), 80, 1)
    x = cbr(n, "conv5", cbr(n, "conv4", x, 192, 2, pad=1), 192, 2)
    for name, pooled in (("a1", 32), ("a2", 64)):
        x = _first_kind(n, name, x, pooled)
    x = _smaller(n, "b", x)
    for name, width in (("c1", 128), ("c2", 160)):
        x = _second_kind(n, name, x, width)
    return _end(n, "Inception-v3-small", x)


def _vgg(name: str, units: int) -> NetParameter:
    n = start(100, BASTIDAS)
    x = n.data
    for stage, width in enumerate((64, 128, 256), start=1):
        if stage > 1:
            x = pool(n, f"pool{stage - 1}", x, 2, 2)
        for unit in range(1, units + 1):
            x = _unit(n, f"conv{stage}.{unit}", x, width)
    return _end(n, name, x)


def _unit(n: NetSpec, name: str, bottom: Top, width: int) -> Top:
    x = _column(n, f"{name}/2x1", cbr(n, f"{name}/1x1", bottom, width, 1), width, pad=1)
    return cbr(n, f"{name}/2x2", _row(n, f"{name}/1x2", x, width, pad=1), width, 2)


def _row(n: NetSpec, name: str, bottom: Top, outputs: int, pad: int) -> Top:
    return cbr(n, name, bottom, outputs, (1, 2), pad=(0, pad))


def _column(n: NetSpec, name: str, bottom: Top, outputs: int, pad: int) -> Top:
    return cbr(n, name, bottom, outputs, (2, 1), pad=(pad, 0))


def _first_kind(n: NetSpec, name: str, bottom: Top, pooled: int) -> Top:
    """Figure 5 of the paper: 1x1; a reduction and 5x5; a reduction and twice 3x3; a pooling."""
    return put(n, name, L.Concat(
        cbr(n, f"{name}/1x1", bottom, 64, 1),
        _square(n, f"{name}/5x5", bottom, 48, 64),
        _square(n, f"{name}/3x3", bottom, 64, 96),
        _pooled(n, name, bottom, pooled),
    ))  # fmt: skip


def _square(n: NetSpec, name: str, bottom: Top, reduced: int, outputs: int) -> Top:
    x = cbr(n, f"{name}_reduce", bottom, reduced, 1)
    return cbr(n, f"{name}_2", cbr(n, f"{name}_1", x, outputs, 2, pad=1), outputs, 2)


def _pooled(n: NetSpec, name: str, bottom: Top, outputs: int) -> Top:
    return cbr(n, f"{name}/pool_proj", pool(n, f"{name}/pool", bottom, 3, 1, pool="AVE", pad=1), outputs, 1)


def _smaller(n: NetSpec, name: str, bottom: Top) -> Top:
    """Figure 10 of the paper: maps of half the size from a 3x3, from a reduction and twice 3x3, from a pooling."""
    three = cbr(n, f"{name}/3x3", bottom, 384, 2, stride=2)
    x = cbr(n, f"{name}/double_1", cbr(n, f"{name}/double_reduce", bottom, 64, 1), 96, 2, pad=1)
    double = cbr(n, f"{name}/double_2", x, 96, 2, stride=2)
    return put(n, name, L.Concat(three, double, pool(n, f"{name}/pool", bottom, 2, 2)))


def _second_kind(n: NetSpec, name: str, bottom: Top, width: int) -> Top:
    """Figure 6 of the paper: 1x1; a reduction, 1x7 and 7x1; a reduction and both twice; a pooling."""
    x = _row(n, f"{name}/7x7_1", cbr(n, f"{name}/7x7_reduce", bottom, width, 1), width, pad=1)
    seven = cbr(n, f"{name}/7x7_3", _column(n, f"{name}/7x7_2", x, width, pad=1), 192, 2)
    x = _column(n, f"{name}/double_1", cbr(n, f"{name}/double_reduce", bottom, width, 1), width, pad=1)
    x = _row(n, f"{name}/double_2", x, width, pad=1)
    double = _row(n, f"{name}/double_4", _column(n, f"{name}/double_3", x, width, pad=0), 192, pad=0)
    return put(n, name, L.Concat(
        cbr(n, f"{name}/1x1", bottom, 192, 1), seven, double, _pooled(n, name, bottom, 192),
    ))  # fmt: skip


def _end(n: NetSpec, name: str, bottom: Top) -> NetParameter:
    """The net with its classifier; of its parameters the convolutions' weights alone decay."""
    net = end(n, name, full(n, "fc", global_pool(n, "pool", bottom), CLASSES, weight_filler=_GLOROT))
    for layer in net.layer:
        if layer.type in ("Scale", "InnerProduct"):
            for _ in range(2):
                layer.param.add(decay_mult=0)
    return net
