"""How questions are put: several phrasings of each, the last two of every list never trained on."""

from __future__ import annotations

import enum
import random
from typing import Final

from training.scenes.world import Split

_HELD_OUT = 2


class Task(enum.Enum):
    """The kinds of question; the value is the name in tables and manifests."""

    NAME = "name"
    WHAT_AT = "what_at"
    COLOUR = "colour"
    COUNT = "count"
    WHERE = "where"
    YES_NO = "yes_no"
    CAPTION = "caption"
    BACKGROUND = "background"
    MOTION = "motion"
    CHANGE = "change"
    ORDER = "order"
    WHICH_PHOTO = "which_photo"
    DIFFERENCE = "difference"
    FORM_BY_EXAMPLE = "form_by_example"
    NAME_BY_EXAMPLE = "name_by_example"


PHRASES: Final[dict[Task, tuple[str, ...]]] = {
    Task.NAME: (
        "What is shown in the photo?",
        "What is pictured here?",
        "Which thing is shown?",
        "What does this show?",
        "What does the image show?",
        "What is that?",
        "What is this?",
        "What is it?",
        "What is in the picture?",
        "What can you see?",
        "What does the photo show?",
        "Name the thing in the picture.",
        "What do you see here?",
        "What thing is in the photo?",
        "What is shown here?",
        "What does the picture show?",
    ),
    Task.WHAT_AT: (
        "What is shown at the {place}?",
        "What does the {place} of the picture show?",
        "Name what is at the {place}.",
        "What is at the {place}?",
        "What is in the {place}?",
        "What can you see at the {place}?",
        "Which thing is at the {place}?",
        "What is there at the {place}?",
        "What does the {place} show?",
    ),
    Task.COLOUR: (
        "Which colour has the {thing}?",
        "What colour has the {thing}?",
        "Tell me the colour of the {thing}.",
        "The {thing} is what colour?",
        "What colour do you see on the {thing}?",
        "What colour is the {thing}?",
        "Which colour is the {thing}?",
        "What is the colour of the {thing}?",
        "The {thing} has which colour?",
        "Name the colour of the {thing}.",
        "What color is the {thing}?",
        "Which colour does the {thing} have?",
        "What colour does the {thing} have?",
    ),
    Task.COUNT: (
        "How many {things} does this show?",
        "How many {things} are here?",
        "Say how many {things} there are.",
        "How many {things} does the picture show?",
        "How many {things} are there?",
        "How many {things} can you see?",
        "Count the {things}.",
        "What is the number of {things}?",
        "How many {things} are in the picture?",
        "How many {things} do you see?",
        "How many {things} does the photo show?",
        "Count the {things} in the picture.",
    ),
    Task.WHERE: (
        "Where does the photo show the {thing}?",
        "Where is the {thing} in the picture?",
        "In which place is the {thing}?",
        "Tell me where the {thing} is.",
        "In which part is the {thing}?",
        "Where is the {thing}?",
        "Where can you see the {thing}?",
        "In which part of the picture is the {thing}?",
        "Where in the photo is the {thing}?",
        "Say where the {thing} is.",
        "Where do you see the {thing}?",
        "Where in the picture is the {thing}?",
        "In which part of the photo is the {thing}?",
    ),
    Task.YES_NO: (
        "Does this show {a_thing}?",
        "Is {a_thing} here?",
        "Is {a_thing} in the picture?",
        "Does the image show {a_thing}?",
        "Do you see {a_thing} here?",
        "Is there {a_thing}?",
        "Can you see {a_thing}?",
        "Is there {a_thing} in the picture?",
        "Do you see {a_thing}?",
        "Does the photo show {a_thing}?",
        "Is {a_thing} there?",
        "Is {a_thing} in the photo?",
        "Can you see {a_thing} here?",
        "Does the picture show {a_thing}?",
        "Is there {a_thing} in the photo?",
    ),
    Task.CAPTION: (
        "Describe this.",
        "Describe the scene.",
        "Caption the picture.",
        "Write a caption for this photo.",
        "Give a description of the photo.",
        "Describe the picture.",
        "What is happening here?",
        "Describe what you see.",
        "Write a caption.",
        "Say what is in the picture and where.",
        "Caption this photo.",
        "Describe the photo.",
        "Write a caption for the picture.",
    ),
    Task.BACKGROUND: (
        "Where was this taken?",
        "What is the background?",
        "What kind of place is this?",
        "What is behind the things?",
        "Which place is this?",
        "What place is this?",
        "What kind of background is there?",
    ),
    Task.MOTION: (
        "Where is the {thing} moving?",
        "In which direction is the {thing} moving?",
        "Which way did the {thing} move?",
        "Say which way the {thing} moves.",
        "Which direction does the {thing} move?",
        "Which way does the {thing} move?",
        "Where does the {thing} go?",
        "In which direction does the {thing} move?",
        "Which way does the {thing} go?",
        "The {thing} moves in which direction?",
        "Which direction does the {thing} take?",
        "In which direction does the {thing} go?",
        "Which way is the {thing} moving?",
    ),
    Task.CHANGE: (
        "What happened?",
        "What is changing?",
        "Describe the change.",
        "What happens in the video?",
        "What changed in the clip?",
        "What changes?",
        "What happens in the clip?",
        "What changed in the video?",
        "What happens?",
        "What is happening in the video?",
        "What happened in the clip?",
        "What changes in the video?",
        "What changed?",
    ),
    Task.ORDER: (
        "Which of the two came first, {this} or {that}?",
        "What is first, {this} or {that}?",
        "Who was first, {this} or {that}?",
        "What changed first, {this} or {that}?",
        "What came first, {this} or {that}?",
        "Which happened first, {this} or {that}?",
        "What happened first, {this} or {that}?",
        "Which came first, {this} or {that}?",
        "Which was first, {this} or {that}?",
        "What was first, {this} or {that}?",
    ),
    Task.WHICH_PHOTO: (
        "Which photo is the one with {a_thing}?",
        "Which picture is it with {a_thing}?",
        "Show me the photo with {a_thing}.",
        "Which photo contains {a_thing}?",
        "Which photo shows {a_thing}?",
        "Which photo has {a_thing}?",
        "In which photo is there {a_thing}?",
        "Where can you see {a_thing}, in which photo?",
        "Find the photo with {a_thing}.",
        "Which picture shows {a_thing}?",
        "In which photo can you see {a_thing}?",
        "Which picture has {a_thing}?",
    ),
    Task.DIFFERENCE: (
        "What has changed?",
        "How do the photos differ?",
        "Find the difference.",
        "What is the change between the photos?",
        "What is the difference between the two photos?",
        "What is different in the second photo?",
        "What changed between the two photos?",
        "Compare the two photos.",
        "What is the difference?",
        "Spot the difference.",
        "What differs between the photos?",
        "What is different?",
    ),
}

#: Forms that an answer can take when only examples say so; the last two are never trained on.
FORMS: Final[tuple[str, ...]] = (
    "{x}!",
    "it is: {x}",
    "{x}, yes {x}",
    "I see {a}.",
    "<{x}>",
    "answer = {x}",
    "{x} {x} {x}",
    "this is {a}",
    "* {x}",
    "{a}, of course",
    "the picture shows {a}.",
    "({x})",
    "[{x}]",
    "a photo of {a}",
    "-> {x}",
    "{x}?",
    "see: {x}",
    "{x} {x}",
)

NUMBERS: Final = ("none", "one", "two", "three", "four", "five")

BACKGROUND_WORDS: Final[dict[str, str]] = {
    "beach": "on a beach",
    "forest": "in a forest",
    "snow": "in the snow",
    "night": "at night",
    "meadow": "on a meadow",
    "room": "in a room",
    "plain": "on a plain background",
}

_PLURALS: Final[dict[str, str]] = {
    "mouse": "mice",
    "fish": "fish",
    "octopus": "octopuses",
    "butterfly": "butterflies",
    "grapes": "grapes",
    "strawberry": "strawberries",
    "bread": "breads",
    "bus": "buses",
    "scissors": "scissors",
    "cross": "crosses",
}


def phrase(task: Task, rng: random.Random, split: Split, **parts: str) -> str:
    """One phrasing of a question, from those of the split."""
    choices = PHRASES[task]
    choices = choices[:-_HELD_OUT] if split is Split.TRAIN else choices[-_HELD_OUT:]
    return rng.choice(choices).format(**parts)


def answer_form(rng: random.Random, *, unseen: bool) -> str:
    """A form of answer; `unseen` ones are kept out of training."""
    return rng.choice(FORMS[-_HELD_OUT:] if unseen else FORMS[:-_HELD_OUT])


def a(name: str) -> str:
    """The name with its article: "a cat", "an owl", "scissors"."""
    if name in ("grapes", "scissors", "bread"):
        return name
    return ("an " if name[0] in "aeiou" and name != "unicorn" else "a ") + name


def plural(name: str) -> str:
    """The plural of "cat" or "red star"."""
    *before, last = name.split(" ")
    return " ".join([*before, _PLURALS.get(last, last + "s")])
