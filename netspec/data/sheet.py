"""A sheet of small images with their captions, in sections with titles, as one picture."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from netspec.data.datum import pillow_image
from netspec.errors import DataError

_COLUMNS, _GAP = 8, 6  # of a row; pixels between tiles
_LINE, _SPACING = 13, 3  # pixels of a line of text, and of those the ones between lines
_SIDE = 96  # pixels that a tile has at least, so that its caption can be read
_LETTER = 6  # pixels of a letter, about
_CAPTION_LINES = 2


@dataclass(frozen=True)
class Section:
    """Images (N, C, H, W), BGR or one channel (of others the first is shown), and a caption for each."""

    title: str
    images: NDArray[np.uint8]
    captions: Sequence[str]


def draw_sheet(sections: Sequence[Section], path: Path) -> None:
    """Write sections below each other as a PNG; small images are enlarged by a whole factor. DataError where it cannot
    be written."""
    pictures = [_section(section) for section in sections]
    width = max(picture.width for picture in pictures)
    sheet = Image.new("RGB", (width, sum(picture.height for picture in pictures)), "white")
    y = 0
    for picture in pictures:
        sheet.paste(picture, (0, y))
        y += picture.height
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, "PNG")
    except OSError as error:
        raise DataError(f"{path}: the picture cannot be written: {error.strerror}") from None


def _section(section: Section) -> Image.Image:
    count, _, height, width = section.images.shape
    factor = max(1, math.ceil(_SIDE / max(height, width)))
    size = width * factor, height * factor
    cell_width = max(_SIDE, size[0]) + _GAP
    cell_height = size[1] + _CAPTION_LINES * _LINE + _GAP
    columns, rows = min(_COLUMNS, count), math.ceil(count / _COLUMNS)
    page_width = max(columns, _COLUMNS // 2) * cell_width + _GAP
    title = _lines(section.title, page_width)
    page = Image.new("RGB", (page_width, rows * cell_height + len(title) * _LINE + 3 * _GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default()
    draw.text((_GAP, _GAP), "\n".join(title), "black", font, spacing=_SPACING)
    for index, (image, caption) in enumerate(zip(section.images, section.captions, strict=True)):
        x = _GAP + index % _COLUMNS * cell_width
        y = len(title) * _LINE + 2 * _GAP + index // _COLUMNS * cell_height
        page.paste(pillow_image(image).convert("RGB").resize(size, Image.Resampling.NEAREST), (x, y))
        lines = _lines(caption, cell_width)[:_CAPTION_LINES]
        draw.text((x, y + size[1]), "\n".join(lines), "black", font, spacing=_SPACING)
    return page


def _lines(text: str, width: int) -> list[str]:
    """A text in lines that fit a width in pixels, in letters that every font has."""
    known = text.encode("latin-1", "replace").decode("latin-1")
    return [line for part in known.split("\n") for line in textwrap.wrap(part, width // _LETTER) or [""]]
