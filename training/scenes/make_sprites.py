"""Cut the things out of the three drawing styles, once; the sprites are kept in the repository.

Needs Debian's fonts-noto-color-emoji, the npm packages @iconify-json/twemoji and
@iconify-json/fluent-emoji-flat (unpacked), and the Python package resvg-py:

    python -m training.scenes.make_sprites NotoColorEmoji.ttf TWEMOJI/icons.json FLUENT/icons.json
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.scenes.things import THINGS

SPRITE_SIZE = 96
FOLDER = Path(__file__).parent / "sprites"


def _square(image: Image.Image) -> Image.Image:
    """Crop an RGBA drawing to what is visible and centre it in a square of `SPRITE_SIZE`."""
    image = image.crop(
        Image.fromarray(np.asarray(image)[..., 3]).point(lambda a: 255 * (a > 8)).getbbox()
    )
    side = max(image.size)
    canvas = Image.new("RGBA", (side, side))
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return canvas.resize((SPRITE_SIZE, SPRITE_SIZE), Image.Resampling.LANCZOS)


def _from_font(font: ImageFont.FreeTypeFont, emoji: str) -> Image.Image:
    canvas = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(canvas).text((10, 10), emoji, font=font, embedded_color=True)
    return canvas


def _from_icons(icons: dict[str, object], name: str) -> Image.Image:
    import resvg_py

    entry = icons["icons"][name]  # type: ignore[index]
    width = entry.get("width", icons.get("width", 16))
    height = entry.get("height", icons.get("height", 16))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="256" height="256">{entry["body"]}</svg>'
    )
    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")


def main(arguments: list[str]) -> None:
    """Write one PNG for each thing and style."""
    font = ImageFont.truetype(arguments[0], 109)
    icon_sets = {
        "twemoji": json.loads(Path(arguments[1]).read_text()),
        "fluent": json.loads(Path(arguments[2]).read_text()),
    }
    for thing, (emoji, name) in THINGS.items():
        drawings = {"noto": _from_font(font, emoji)}
        for style, icons in icon_sets.items():
            drawings[style] = _from_icons(icons, name)
        for style, drawing in drawings.items():
            path = FOLDER / style / f"{thing}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            _square(drawing).quantize(128, method=Image.Quantize.FASTOCTREE).save(
                path, optimize=True
            )


if __name__ == "__main__":
    main(sys.argv[1:])
