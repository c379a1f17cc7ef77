"""The WindowData layer: R-CNN's windows, cut out, surrounded and stretched."""

import math

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from netspec import Net, parse_net
from netspec.data.mean import write_mean
from netspec.data.resize import resize
from netspec.errors import DataError, SpecError
from netspec.layers.base import LayerError
from netspec.schema.netspec_pb2 import LayerParameter

SIZES = [(30, 40), (25, 18)]
WINDOWS = [  # image, class, overlap, x1, y1, x2, y2
    (0, 3, 1.0, 5, 6, 20, 17),
    (0, 2, 0.5, 0, 0, 39, 29),
    (0, 9, 0.4, 30, 2, 39, 28),
    (0, 4, 0.1, 0, 20, 8, 29),
    (1, 1, 0.7, 1, 1, 3, 23),
    (1, 5, 0.2999, 10, 4, 17, 12),
    (1, 0, 0.0, 0, 0, 0, 0),
]
FOREGROUND, BACKGROUND = [0, 1, 4], [3, 5, 6]
"""From an overlap of 0.5 on, and below 0.3."""


@pytest.fixture
def images(pixels):
    return [pixels(1, 3, *size, seed=index)[0] for index, size in enumerate(SIZES)]


@pytest.fixture
def listed(tmp_path, picture, images):
    """A window file of two images with seven windows; its path."""
    lines = []
    for index, (image, (height, width)) in enumerate(zip(images, SIZES, strict=True)):
        boxes = [" ".join(map(str, window[1:])) for window in WINDOWS if window[0] == index]
        lines += [f"# {index}", picture(image, f"{index}.png"), 3, height, width, len(boxes), *boxes]
    (tmp_path / "windows").write_text("\n".join(map(str, lines)) + "\n")
    return tmp_path / "windows"


def text(path, fields="", transform="", batch=4, crop=12):
    return (
        f'type: "WindowData" top: "data" top: "label" transform_param {{ crop_size: {crop} {transform} }} '
        f'window_data_param {{ source: "{path}" batch_size: {batch} bg_threshold: 0.3 {fields} }}'
    )


def rounded(number):
    """C's round: half away from zero."""
    return math.floor(abs(number) + 0.5) * (1 if number >= 0 else -1)


def expected(image, window, crop, pad=0, square=False, mirror=False, mean=0.0):
    """A window by Caffe's rule, step by step on both axes."""
    x1, y1, x2, y2 = window[3:]
    width = height = crop
    left = top = 0
    if pad or square:
        scale = crop / (crop - 2 * pad)
        half_height, half_width = (y2 - y1 + 1) / 2, (x2 - x1 + 1) / 2
        centre_x, centre_y = x1 + half_width, y1 + half_height
        if square:
            half_height = half_width = max(half_height, half_width)
        x1, x2 = rounded(centre_x - half_width * scale), rounded(centre_x + half_width * scale)
        y1, y2 = rounded(centre_y - half_height * scale), rounded(centre_y + half_height * scale)
        zoom_x, zoom_y = crop / (x2 - x1 + 1), crop / (y2 - y1 + 1)
        over = [max(0, -x1), max(0, -y1), max(0, x2 - image.shape[2] + 1), max(0, y2 - image.shape[1] + 1)]
        x1, y1, x2, y2 = x1 + over[0], y1 + over[1], x2 - over[2], y2 - over[3]
        width, height = rounded((x2 - x1 + 1) * zoom_x), rounded((y2 - y1 + 1) * zoom_y)
        left, top = rounded(over[2 if mirror else 0] * zoom_x), rounded(over[1] * zoom_y)
        width, height = min(width, crop - left), min(height, crop - top)
    made = resize(image[:, y1 : y2 + 1, x1 : x2 + 1], height, width).astype(np.float32)
    out = np.zeros((3, crop, crop), np.float32)
    area = (slice(None), slice(top, top + height), slice(left, left + width))
    out[area] = (made[..., ::-1] if mirror else made) - np.broadcast_to(mean, out.shape)[area]
    return out


@pytest.mark.parametrize("crop", [12, 31])
@pytest.mark.parametrize("pad", [0, 1, 5])
@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("mirror", [False, True])
def test_every_window_is_cut_by_caffes_rule(crop, pad, square, mirror, opened, listed, images, tmp_path):
    """Stretched or square, with surroundings that reach beyond the image, mirrored or not: all windows are right,
    and the mean stays where it is."""
    mean = np.random.default_rng(5).uniform(90, 110, (3, 40, 40)).astype(np.float32)
    write_mean(tmp_path / "mean", mean)
    first = (40 - crop) // 2
    middle = mean[:, first : first + crop, first : first + crop]
    fields = f'context_pad: {pad} crop_mode: "{"square" if square else "warp"}"'
    transform = f'mirror: {str(mirror).lower()} mean_file: "{tmp_path}/mean"'
    data, _ = next(opened(text(listed, fields, transform, 7, crop), seed=3).once())
    windows = [window for window in WINDOWS if window[2] >= 0.5 or window[2] < 0.3]
    flipped = 0
    for made, window in zip(data.numpy(), windows, strict=True):
        whole = [expected(images[window[0]], window, crop, pad, square, flip, middle) for flip in (False, True)]
        matches = [np.abs(made - choice).max() < 1e-4 for choice in whole]
        assert any(matches) if mirror else matches[0]
        flipped += not matches[0]
    assert (flipped > 0) is mirror


def test_a_batch_is_background_then_foreground(opened, listed):
    """int(N * fg_fraction) windows are foreground and come last; each of them is drawn at times, background is 0."""
    source = opened(text(listed, "fg_fraction: 0.55", batch=5))
    assert source.shapes == [(5, 3, 12, 12), (5,)]
    assert source.epoch_size == len(FOREGROUND) + len(BACKGROUND)
    batches = [source.next() for _ in range(20)]
    labels = torch.stack([label for _, label in batches])
    assert (labels[:, :3] == 0).all()
    assert set(labels[:, 3:].flatten().tolist()) == {WINDOWS[i][1] for i in FOREGROUND}
    assert len({image.numpy().tobytes() for data, _ in batches for image in data[:3]}) == len(BACKGROUND)


def test_scale_and_mean_values(opened, listed, images):
    """mean_value is taken off the window, scale multiplies it, padding stays 0."""
    fields = "context_pad: 4"
    data, _ = next(opened(text(listed, fields, "mean_value: [1, 2, 3] scale: 0.5", 6)).once())
    values = np.array([1, 2, 3], np.float32)[:, None, None]
    wanted = expected(images[0], WINDOWS[1], 12, 4, mean=values) * 0.5
    np.testing.assert_allclose(data[1], wanted, atol=1e-5)
    assert (data[1, :, 0, 0] == 0).all()


def test_labels_are_checked(opened, listed):
    """A class outside is named with the line of its window; background is class 0, whatever stands in the file."""
    source = opened(text(listed))
    source.check_labels(4, None, "loss")
    with pytest.raises(DataError, match=r"windows: line 7 \(.*0.png\) has the label 3, but layer 'loss' knows 0 to 2"):
        source.check_labels(3, None, "loss")


@pytest.mark.parametrize("cached", [False, True])
def test_cached_files_are_read_once(cached, opened, listed, tmp_path):
    """With cache_images the files are not needed again; without, a lost one is named."""
    source = opened(text(listed, f"cache_images: {str(cached).lower()}", batch=7))
    whole = list(source.once())
    (tmp_path / "1.png").unlink()
    if cached:
        assert torch.equal(next(source.once())[0], whole[0][0])
    else:
        with pytest.raises(DataError, match=r"line \d+ \(.*1.png\): .* cannot be read: No such file"):
            next(source.once())


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("# 0", "0", "line 1 is not of the form"),
        ("# 1", "1", r"line 11 is not of the form .*: 1$"),
        ("\n30\n", "\nthirty\n", 'line 4: "thirty" stands where a whole number is expected'),
        ("3 1.0 5 6 20 17", "3 1.0 5 6 20", 'line 7 is not "class overlap x1 y1 x2 y2": 3 1.0 5 6 20'),
        ("3 1.0 5 6 20 17", "3 nan 5 6 20 17", "line 7 is not"),
        ("3 1.0 5 6 20 17", "0 1.0 5 6 20 17", r"line 7 \(.*\): foreground of class 0"),
        ("\n3\n30\n", "\n1\n30\n", r"images of \[1, 3\] channels"),
        ("0 0.0 0 0 0 0\n", "", "ends too early: its last image has 2 of 3 windows"),
    ],
)
def test_a_wrong_window_file(old, new, cause, opened, listed):
    """A file that is not of the form is refused with the line."""
    assert old in listed.read_text()
    listed.write_text(listed.read_text().replace(old, new))
    with pytest.raises(DataError, match=cause):
        opened(text(listed))


@pytest.mark.parametrize("space", [" ", "\t", "\r\n\r\n"])
def test_any_space_parts_words(space, opened, listed):
    """As in Caffe an image's words may stand on one line, or each on its own."""
    wanted = list(opened(text(listed, batch=7)).once())
    listed.write_bytes(space.join(listed.read_text().split()).encode())
    made = list(opened(text(listed, batch=7)).once())
    assert all(torch.equal(a, b) for a, b in zip(made[0], wanted[0], strict=True))


def test_a_file_that_ends_in_an_images_head(opened, listed):
    """A file that is cut within the head of an image is refused."""
    listed.write_text("# 0\ncat.png\n3\n")
    with pytest.raises(DataError, match="ends too early; an image is"):
        opened(text(listed))


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ("fg_threshold: 1.1", "no window is foreground, with an overlap of 1.1 or"),
        ("bg_threshold: 0", "no window is background"),
    ],
)
def test_both_kinds_are_needed(fields, cause, opened, listed):
    """A file without foreground or background is refused."""
    with pytest.raises(DataError, match=cause):
        opened(text(listed).replace("bg_threshold: 0.3", fields))


@pytest.mark.parametrize(
    ("fields", "labels"),
    [("fg_fraction: 0 fg_threshold: 1.1", {0}), ("fg_fraction: 1 bg_threshold: 0", {2, 3, 5})],
)
def test_a_kind_that_is_never_drawn_is_not_needed(fields, labels, opened, listed):
    """Where all of a batch is background, or all foreground, the file need not have the other."""
    fields += " fg_threshold: 0.25" * ("fg_threshold" not in fields)
    source = opened(text(listed).replace("bg_threshold: 0.3", fields))
    drawn = {label for _ in range(20) for label in source.next()[1].tolist()}
    assert labels <= drawn and (0 in drawn) is (0 in labels)


def test_a_window_outside_its_image(opened, listed):
    """A window beyond its image is named when it is drawn, unless context may surround it."""
    listed.write_text(listed.read_text().replace("5 6 20 17", "5 6 40 17"))
    with pytest.raises(DataError, match=r"line 7 .*the window \(5, 6, 40, 17\) lies outside the image of 40x30"):
        next(opened(text(listed)).once())
    next(opened(text(listed, "context_pad: 2")).once())


@pytest.mark.parametrize(
    ("change", "field", "cause"),
    [
        (lambda p: p.window_data_param.ClearField("source"), ("window_data_param", "source"), "source is missing"),
        (lambda p: p.window_data_param.ClearField("batch_size"), ("window_data_param", "batch_size"), "missing or 0"),
        (lambda p: p.transform_param.ClearField("crop_size"), ("transform_param", "crop_size"), "is missing"),
        (lambda p: setattr(p.window_data_param, "fg_fraction", 1.5), ("window_data_param", "fg_fraction"), "not 1.5"),
        (lambda p: setattr(p.window_data_param, "context_pad", 6), ("window_data_param", "context_pad"), "nothing of"),
        (lambda p: setattr(p.window_data_param, "crop_mode", "fit"), ("window_data_param", "crop_mode"), 'not "fit"'),
        (lambda p: p.transform_param.mean_value.extend([1, 2]), ("transform_param", "mean_value"), "give 1 or 3"),
    ],
)
def test_a_wrong_message(change, field, cause, opened, listed):
    """A message that makes no sense is refused with the guilty field."""
    param = text_format.Parse(text(listed), LayerParameter())
    change(param)
    with pytest.raises(LayerError, match=cause) as caught:
        opened(text_format.MessageToString(param))
    assert caught.value.field == field


def test_a_layer_without_tops_is_refused(listed):
    """A layer that gives its blobs to nobody is no layer of a net."""
    without = text(listed).replace('top: "data" top: "label"', 'name: "data"')
    with pytest.raises(SpecError, match="WindowData takes 2 tops, not 0"):
        Net(parse_net(f"layer {{ {without} }}"))


def test_a_mean_that_is_too_small(opened, listed, tmp_path):
    """A mean image must hold the crop."""
    write_mean(tmp_path / "mean", np.zeros((3, 11, 14), np.float32))
    with pytest.raises(LayerError, match="too small for crops"):
        opened(text(listed, transform=f'mean_file: "{tmp_path}/mean"'))


@pytest.mark.parametrize("transform", ["rotation: 5", "copy { }", "std_value: 2"])
def test_what_caffe_has_not_is_refused(transform, opened, listed):
    """Windows are cropped and mirrored as in Caffe and nothing else: another transform is named, not passed over."""
    name = transform.split()[0].rstrip(":")
    with pytest.raises(LayerError, match=f"{name} is not for windows") as caught:
        opened(text(listed, transform=transform))
    assert caught.value.field == ("transform_param", name)
