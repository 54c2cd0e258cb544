"""What the storybook world holds: things, shapes, colours, backgrounds and places.

Each thing names its emoji code point (for the Noto font) and its short name in the icon sets.
"""

from __future__ import annotations

from typing import Final

#: thing -> (emoji, short name in Twemoji and Fluent Emoji as packaged by iconify)
THINGS: Final[dict[str, tuple[str, str]]] = {
    "cat": ("🐈", "cat"),
    "dog": ("🐕", "dog"),
    "horse": ("🐎", "horse"),
    "cow": ("🐄", "cow"),
    "pig": ("🐖", "pig"),
    "rabbit": ("🐇", "rabbit"),
    "mouse": ("🐁", "mouse"),
    "bear": ("🐻", "bear"),
    "lion": ("🦁", "lion"),
    "monkey": ("🐒", "monkey"),
    "elephant": ("🐘", "elephant"),
    "duck": ("🦆", "duck"),
    "chicken": ("🐔", "chicken"),
    "penguin": ("🐧", "penguin"),
    "owl": ("🦉", "owl"),
    "fish": ("🐟", "fish"),
    "whale": ("🐋", "whale"),
    "octopus": ("🐙", "octopus"),
    "turtle": ("🐢", "turtle"),
    "frog": ("🐸", "frog"),
    "snail": ("🐌", "snail"),
    "butterfly": ("🦋", "butterfly"),
    "bee": ("🐝", "honeybee"),
    "otter": ("🦦", "otter"),
    "apple": ("🍎", "red-apple"),
    "banana": ("🍌", "banana"),
    "grapes": ("🍇", "grapes"),
    "strawberry": ("🍓", "strawberry"),
    "pizza": ("🍕", "pizza"),
    "hamburger": ("🍔", "hamburger"),
    "cake": ("🎂", "birthday-cake"),
    "bread": ("🍞", "bread"),
    "egg": ("🥚", "egg"),
    "carrot": ("🥕", "carrot"),
    "car": ("🚗", "automobile"),
    "bus": ("🚌", "bus"),
    "train": ("🚂", "locomotive"),
    "bicycle": ("🚲", "bicycle"),
    "airplane": ("✈", "airplane"),
    "boat": ("⛵", "sailboat"),
    "rocket": ("🚀", "rocket"),
    "tractor": ("🚜", "tractor"),
    "house": ("🏠", "house"),
    "tree": ("🌳", "deciduous-tree"),
    "sunflower": ("🌻", "sunflower"),
    "mushroom": ("🍄", "mushroom"),
    "umbrella": ("☂", "umbrella"),
    "ball": ("⚽", "soccer-ball"),
    "balloon": ("🎈", "balloon"),
    "book": ("📕", "closed-book"),
    "clock": ("⏰", "alarm-clock"),
    "key": ("🔑", "key"),
    "guitar": ("🎸", "guitar"),
    "telephone": ("☎", "telephone"),
    "camera": ("📷", "camera"),
    "chair": ("🪑", "chair"),
    "hat": ("🎩", "top-hat"),
    "shoe": ("👟", "running-shoe"),
    "crown": ("👑", "crown"),
    "gift": ("🎁", "wrapped-gift"),
    "bell": ("🔔", "bell"),
    "lamp": ("🏮", "red-paper-lantern"),
    "scissors": ("✂", "scissors"),
    "drum": ("🥁", "drum"),
}

SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "ring", "cross", "crescent")

#: colour -> RGB in the middle of its range
COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (218, 40, 40),
    "orange": (245, 140, 25),
    "yellow": (245, 215, 40),
    "green": (45, 160, 65),
    "blue": (40, 90, 215),
    "purple": (135, 55, 170),
    "pink": (245, 140, 190),
    "brown": (125, 75, 40),
}

BACKGROUNDS: Final = ("beach", "forest", "snow", "night", "meadow", "room", "plain")

STYLES: Final = ("noto", "twemoji", "fluent")

#: Names of everything that can stand in a picture, in the order of class numbers.
KINDS: Final[tuple[str, ...]] = (*THINGS, *SHAPES)
COLOUR_NAMES: Final[tuple[str, ...]] = tuple(COLOURS)
