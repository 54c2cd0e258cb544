"""Draw storybook scenes: backgrounds, sprites of three styles, plain shapes, camera noise."""

from __future__ import annotations

import functools
import random
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.scenes.things import COLOURS
from training.scenes.world import Item, Scene

Picture = NDArray[np.uint8]

_SPRITES = Path(__file__).parent / "sprites"
_SPRITE_SIZE = 96
#: Sprites are kept at these sizes, so that shrinking them never skips pixels.
_LEVELS = (96, 64, 44, 30)

cv2.setNumThreads(1)


def _levels(rgba: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """The sprite with premultiplied alpha at every size of `_LEVELS`."""
    rgba = rgba.copy()
    rgba[..., :3] *= rgba[..., 3:] / 255
    size = rgba.shape[0]
    return tuple(
        rgba
        if level == size
        else np.asarray(cv2.resize(rgba, (level, level), interpolation=cv2.INTER_AREA), np.float32)
        for level in _LEVELS
    )


@functools.cache
def _thing(kind: str, style: str) -> tuple[NDArray[np.float32], ...]:
    with Image.open(_SPRITES / style / f"{kind}.png") as sprite:
        return _levels(np.asarray(sprite.convert("RGBA"), np.float32))


def _shape_mask(kind: str) -> NDArray[np.uint8]:
    """The outline of a plain shape as an alpha mask of `_SPRITE_SIZE`."""
    scale = 4
    side = _SPRITE_SIZE * scale
    mask = np.zeros((side, side), np.uint8)
    centre = (side // 2, side // 2)
    radius = side // 2 - 2 * scale
    if kind == "circle":
        cv2.circle(mask, centre, radius, 255, -1)
    elif kind == "ring":
        cv2.circle(mask, centre, int(radius * 0.8), 255, int(radius * 0.38))
    elif kind == "crescent":
        cv2.circle(mask, centre, radius, 255, -1)
        cv2.circle(mask, (int(side * 0.68), int(side * 0.42)), int(radius * 0.82), 0, -1)
    elif kind == "heart":
        t = np.linspace(0, 2 * np.pi, 200)
        x = 16 * np.sin(t) ** 3
        y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
        points = np.stack([x, y + 2.5], -1) * radius / 17 + centre
        cv2.fillPoly(mask, [points.astype(np.int32)], 255)
    else:
        cv2.fillPoly(mask, [_polygon(kind, radius, centre)], 255)
    small = cv2.resize(mask, (_SPRITE_SIZE, _SPRITE_SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _polygon(kind: str, radius: int, centre: tuple[int, int]) -> NDArray[np.int32]:
    if kind == "square":
        corners = [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]
    elif kind == "triangle":
        corners = [(0, -0.95), (1, 0.85), (-1, 0.85)]
    elif kind == "star":
        angles = np.arange(10) * np.pi / 5 - np.pi / 2
        radii = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
        corners = list(zip(radii * np.cos(angles), radii * np.sin(angles), strict=True))
    else:  # cross
        a, b = 0.32, 0.95
        corners = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)]
        corners += [(a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]
    return (np.array(corners) * radius + centre).astype(np.int32)


@functools.cache
def _mask(kind: str) -> NDArray[np.uint8]:
    return _shape_mask(kind)


def _shape(kind: str, colour: str, rng: random.Random) -> tuple[NDArray[np.float32], ...]:
    rgb = np.array(COLOURS[colour], np.float32) + [rng.uniform(-16, 16) for _ in range(3)]
    rgba = np.empty((_SPRITE_SIZE, _SPRITE_SIZE, 4), np.float32)
    rgba[..., :3] = np.clip(rgb, 0, 255)
    if rng.random() < 0.35:  # a light that falls from above, as on a button
        rgba[..., :3] *= np.linspace(1.12, 0.85, _SPRITE_SIZE, dtype=np.float32)[:, None, None]
        np.clip(rgba, 0, 255, out=rgba)
    rgba[..., 3] = _mask(kind)
    return _levels(rgba)


def _paste(
    canvas: NDArray[np.float32], item: Item, levels: tuple[NDArray[np.float32], ...]
) -> None:
    side = canvas.shape[0]
    size_px = item.size * side
    sprite = next((s for s in reversed(levels) if s.shape[0] >= size_px * 0.95), levels[0])
    scale = size_px / sprite.shape[0]
    angle = np.deg2rad(item.angle_deg)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    flip = -1.0 if item.flip else 1.0
    half = sprite.shape[0] / 2
    matrix = np.array([[cos * flip, -sin, 0.0], [sin * flip, cos, 0.0]], np.float32)
    reach = size_px * 0.75 + 2
    left, top = int(item.x * side - reach), int(item.y * side - reach)
    left, top = max(0, left), max(0, top)
    right = min(side, int(item.x * side + reach) + 1)
    bottom = min(side, int(item.y * side + reach) + 1)
    if right <= left or bottom <= top:
        return
    matrix[:, 2] = (item.x * side - left, item.y * side - top) - matrix[:, :2] @ (half, half)
    layer = cv2.warpAffine(
        sprite,
        matrix,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR,
        borderValue=(0, 0, 0, 0),
    )
    region = canvas[top:bottom, left:right]
    region *= 1 - layer[..., 3:] / 255
    region += layer[..., :3]


def _jitter(rng: random.Random, rgb: tuple[int, int, int], by: float = 18) -> NDArray[np.float32]:
    return np.clip(np.array(rgb, np.float32) + [rng.uniform(-by, by) for _ in range(3)], 0, 255)


def _bands(side: int, rows: list[tuple[float, NDArray[np.float32]]]) -> NDArray[np.float32]:
    canvas = np.empty((side, side, 3), np.float32)
    for start, colour in rows:
        canvas[int(start * side) :] = colour
    return canvas


def background(name: str, seed: int, side: int) -> NDArray[np.float32]:
    """Draw a background (side, side, 3) float32 RGB; the same seed draws the same one."""
    rng = random.Random(seed)
    canvas = _ground(name, rng, side)
    texture = np.random.default_rng(seed).normal(0, 1, (16, 16)).astype(np.float32)
    canvas += cv2.resize(texture, (side, side), interpolation=cv2.INTER_CUBIC)[..., None] * 5
    return np.clip(canvas, 0, 255)


def _ground(name: str, rng: random.Random, side: int) -> NDArray[np.float32]:
    horizon = rng.uniform(0.35, 0.6)
    if name == "beach":
        sea = horizon - rng.uniform(0.1, 0.2)
        rows = [(0.0, _jitter(rng, (150, 215, 245))), (sea, _jitter(rng, (40, 140, 190)))]
        return _bands(side, [*rows, (horizon, _jitter(rng, (240, 220, 165)))])
    if name == "meadow":
        rows = [(0.0, _jitter(rng, (135, 200, 250))), (horizon, _jitter(rng, (120, 195, 80)))]
        return _speckle(_bands(side, rows), rng, (80, 160, 50), horizon, 30)
    if name == "snow":
        rows = [(0.0, _jitter(rng, (185, 205, 225))), (horizon, _jitter(rng, (245, 248, 252), 6))]
        return _speckle(_bands(side, rows), rng, (255, 255, 255), 0.0, 40)
    if name == "night":
        rows = [(0.0, _jitter(rng, (20, 24, 62), 10)), (0.85, _jitter(rng, (32, 42, 52), 8))]
        return _speckle(_bands(side, rows), rng, (230, 230, 200), 0.0, 30)
    if name == "forest":
        canvas = _bands(
            side, [(0.0, _jitter(rng, (40, 85, 50))), (0.8, _jitter(rng, (70, 75, 40)))]
        )
        for _ in range(rng.randint(3, 6)):
            x, width = rng.randrange(side), rng.uniform(0.03, 0.08) * side
            canvas[: int(0.85 * side), x : int(x + width)] = _jitter(rng, (78, 56, 38), 10)
        return canvas
    if name == "room":
        floor = rng.uniform(0.62, 0.8)
        canvas = _bands(
            side, [(0.0, _jitter(rng, (222, 205, 185))), (floor, _jitter(rng, (150, 105, 70)))]
        )
        canvas[int(floor * side) : int((floor + 0.025) * side)] = _jitter(rng, (245, 240, 235), 8)
        return canvas
    colour = np.array([rng.uniform(70, 250) for _ in range(3)], np.float32)
    return _bands(side, [(0.0, colour * 0.4 + 140 * 0.6 if rng.random() < 0.5 else colour)])


def _speckle(
    canvas: NDArray[np.float32],
    rng: random.Random,
    rgb: tuple[int, int, int],
    top: float,
    number: int,
) -> NDArray[np.float32]:
    side = canvas.shape[0]
    dot = max(1, side // 96)
    for _ in range(number):
        x, y = rng.randrange(side - dot), int(rng.uniform(top, 0.99) * (side - dot))
        canvas[y : y + dot, x : x + dot] = rgb
    return canvas


def _camera(canvas: NDArray[np.float32], rng: random.Random) -> Picture:
    """Brightness, blur and JPEG noise, the same for every frame drawn with an equal generator."""
    canvas = canvas * rng.uniform(0.82, 1.15) + rng.uniform(-8, 8)
    if rng.random() < 0.2:
        deviation_px = rng.uniform(0.4, 0.9) * canvas.shape[0] / 128
        canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), deviation_px), np.float32)
    picture = np.clip(canvas, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = rng.randint(45, 92)
        coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return picture


def render(scene: Scene, side: int, times: tuple[float, ...] = (0.0,)) -> list[Picture]:
    """Draw the scene at each time as (side, side, 3) uint8 RGB."""
    ground = background(scene.background, scene.seed, side)
    pictures = []
    for time in times:
        canvas = ground.copy()
        for number, item in enumerate(scene.at(time)):
            if item is None:
                continue
            # One generator an item: its shade stays the same from frame to frame.
            shade = random.Random(scene.seed + 7919 * number)
            sprites = (
                _shape(item.kind, item.colour, shade)
                if item.colour
                else _thing(item.kind, item.style)
            )
            _paste(canvas, item, sprites)
        pictures.append(_camera(canvas, random.Random(scene.seed + 1)))
    return pictures
