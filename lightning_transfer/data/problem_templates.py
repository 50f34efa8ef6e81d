"""Arithmetic word problems with places for numbers, names and things."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Noun = tuple[str, str]  # one and many
Words = Mapping[str, Sequence[Noun]]

NAMES = {
    "he": ("Roger", "Tom", "Ben", "David", "Omar", "Luis", "Peter", "Kenji", "Adam", "Felix", "Noah", "Ivan"),
    "she": ("Anna", "Maria", "Lucy", "Sofia", "Grace", "Mei", "Emma", "Nora", "Clara", "Leila", "Rosa", "Julia"),
}


def _nouns(*words: str) -> tuple[Noun, ...]:
    """Nouns whose plural is not given get an s: "apple", "box/boxes"."""
    pairs = [word.split("/") for word in words]
    return tuple((pair[0], pair[-1] if len(pair) > 1 else f"{pair[0]}s") for pair in pairs)


_KEPT = _nouns(
    "marble", "sticker", "coin", "shell", "postcard", "toy car", "tennis ball", "pencil", "book", "stamp", "bead"
)
_FOOD = _nouns(
    "apple", "cookie", "muffin", "orange", "pancake", "plum", "sandwich/sandwiches", "peach/peaches", "bun", "pear"
)
_ANIMALS = _nouns("sheep/sheep", "duck", "cow", "goose/geese", "goat", "horse", "pigeon", "donkey")
_PLACES = _nouns("field", "meadow", "pasture", "farmyard")
_HOLDERS = _nouns("box/boxes", "bag", "basket", "crate")
_GOODS = _nouns("ticket", "notebook", "kite", "cap", "toy boat", "poster", "mug")
_SHOPS = _nouns("bakery/bakeries", "shop", "café", "market stall")
_WISHES = _nouns("bicycle", "guitar", "tent", "telescope", "skateboard")
_SEATS = _nouns("chair", "bench/benches", "desk")


@dataclass(frozen=True)
class Template:
    """A problem with places.

    Places are letters of numbers (`{a}`), kinds of nouns for one and for many (`{thing}`, `{things}`), both together (`{a_thing}`: "1 book",
    "5 books"), and persons: `{name}` with `{He}` and `{he}`, and `{other}`.

    Args:
        numbers: least and largest value by letter.
        steps: each the letter of a result, and how it comes: `r = a + b`; that of the last is `r`.
        question: what is asked.
        reasoning: how the answer is found, ending in the last equation.
        nouns: to choose from, by kind.
    """

    numbers: Mapping[str, tuple[int, int]]
    steps: Sequence[str]
    question: str
    reasoning: str
    nouns: Words


ONE_STEP = (
    Template(
        {"a": (2, 40), "b": (2, 40)},
        ["r = a + b"],
        "{name} has {a_thing}. {He} finds {b} more {things}. How many {things} does {he} have now?",
        "{name} started with {a_thing} and found {b} more. {a} + {b} = {r}.",
        {"thing": _KEPT},
    ),
    Template(
        {"a": (5, 60), "b": (2, 50)},
        ["r = a - b"],
        "{name} had {a_thing}. {He} gave {b} of them to {other}. How many {things} does {name} have left?",
        "{name} started with {a_thing} and gave {b} of them away. {a} - {b} = {r}.",
        {"thing": _KEPT},
    ),
    Template(
        {"a": (2, 9), "b": (2, 12)},
        ["r = a * b"],
        "{name} has {a_holder}. There are {b_thing} in each {holder}. How many {things} does {he} have in all?",
        "There are {a_holder} with {b_thing} each. {a} * {b} = {r}.",
        {"thing": _FOOD, "holder": _HOLDERS},
    ),
    Template(
        {"a": (2, 40), "b": (2, 20)},
        ["r = a + b"],
        "There are {a_animal} in the {place}. Then {b} more {animals} come. How many {animals} are in the {place} now?",
        "There were {a_animal} at first, and {b} more came. {a} + {b} = {r}.",
        {"animal": _ANIMALS, "place": _PLACES},
    ),
    Template(
        {"a": (10, 80), "b": (2, 70)},
        ["r = a - b"],
        "In the morning a {shop} had {a_thing}. By noon {b} of them were sold. How many {things} were left?",
        "The {shop} had {a_thing}, and {b} of them were sold. {a} - {b} = {r}.",
        {"thing": _FOOD, "shop": _SHOPS},
    ),
    Template(
        {"a": (2, 12), "b": (2, 12)},
        ["r = a * b"],
        "There are {a} rows of {seats} in a hall, and {b_seat} in each row. How many {seats} are in the hall?",
        "There are {a} rows with {b_seat} each. {a} * {b} = {r}.",
        {"seat": _SEATS},
    ),
    Template(
        {"a": (5, 40), "b": (5, 40)},
        ["r = a + b"],
        "{name} read {a} pages on Monday and {b} pages on Tuesday. How many pages did {he} read on both days?",
        "{name} read {a} pages on one day and {b} pages on the other. {a} + {b} = {r}.",
        {},
    ),
    Template(
        {"a": (5, 50), "b": (2, 40)},
        ["r = a - b"],
        "{name} has {a_thing} and {other} has {b_thing}. How many more {things} does {name} have than {other}?",
        "{name} has {a_thing}, and {other} has {b}. {a} - {b} = {r}.",
        {"thing": _KEPT},
    ),
    Template(
        {"a": (2, 15), "b": (2, 9)},
        ["r = b * a"],
        "One {good} costs {a} dollars. {name} buys {b_good}. How many dollars does {he} pay?",
        "{name} buys {b_good} for {a} dollars each. {b} * {a} = {r}.",
        {"good": _GOODS},
    ),
    Template(
        {"a": (2, 40), "b": (2, 40)},
        ["r = a + b"],
        "{name} has {a_thing}, and {other} has {b_thing}. How many {things} do they have together?",
        "{name} has {a_thing}, and {other} has {b}. {a} + {b} = {r}.",
        {"thing": _KEPT},
    ),
    Template(
        {"a": (30, 99), "b": (5, 90)},
        ["r = a - b"],
        "{name} wants to buy a {wish} that costs {a} dollars. {He} has saved {b} dollars. How many dollars does {he} still need?",
        "The {wish} costs {a} dollars, and {name} has {b} dollars. {a} - {b} = {r}.",
        {"wish": _WISHES},
    ),
    Template(
        {"a": (2, 12), "b": (2, 9)},
        ["r = b * a"],
        "{name} runs {a} miles every day. How many miles does {he} run in {b} days?",
        "{name} runs {a} miles on each of {b} days. {b} * {a} = {r}.",
        {},
    ),
)

TWO_STEPS = (
    Template(
        {"a": (2, 20), "b": (2, 6), "c": (2, 9)},
        ["m = b * c", "r = a + m"],
        "{name} has {a_thing}. {He} buys {b_holder} of {c_thing} each. How many {things} does {he} have now?",
        "{name} started with {a_thing}. {b_holder} of {c_thing} each are {b} * {c} = {m_thing}. {a} + {m} = {r}.",
        {"thing": _KEPT, "holder": _HOLDERS},
    ),
    Template(
        {"a": (8, 40), "b": (2, 30), "c": (2, 20)},
        ["m = a - b", "r = m + c"],
        "{name} had {a_thing}. {He} gave {b} of them to {other}, and then bought {c} more. How many {things} does {name} have now?",
        "{name} started with {a_thing} and gave {b} away, which left {a} - {b} = {m_thing}. Then {he} bought {c} more. {m} + {c} = {r}.",
        {"thing": _KEPT},
    ),
    Template(
        {"a": (2, 8), "b": (2, 10), "c": (2, 20)},
        ["m = a * b", "r = m - c"],
        "A {shop} had {a_holder} with {b_thing} in each. {c} of the {things} were sold. How many {things} were left?",
        "{a_holder} with {b_thing} each are {a} * {b} = {m_thing}. {c} of them were sold. {m} - {c} = {r}.",
        {"thing": _FOOD, "holder": _HOLDERS, "shop": _SHOPS},
    ),
    Template(
        {"a": (20, 90), "b": (2, 6), "c": (2, 12)},
        ["m = b * c", "r = a - m"],
        "{name} has {a} dollars. {He} buys {b_good} that cost {c} dollars each. How many dollars does {he} have left?",
        "{b_good} for {c} dollars each cost {b} * {c} = {m} dollars. {name} started with {a} dollars. {a} - {m} = {r}.",
        {"good": _GOODS},
    ),
    Template(
        {"a": (2, 15), "b": (2, 15), "c": (2, 7)},
        ["m = a + b", "r = c * m"],
        "Every day {name} reads {a} pages in the morning and {b} pages in the evening. How many pages does {he} read in {c} days?",
        "In one day {name} reads {a} + {b} = {m} pages. {He} does so on {c} days. {c} * {m} = {r}.",
        {},
    ),
    Template(
        {"a": (20, 60), "b": (2, 25), "c": (2, 25)},
        ["m = a - b", "r = m - c"],
        "There are {a} people on a bus. {b} of them get off at the first stop, and {c} at the second. How many people are still on the bus?",
        "After the first stop {a} - {b} = {m_person} remained. At the second stop {c} more got off. {m} - {c} = {r}.",
        {"person": (("person", "people"),)},
    ),
    Template(
        {"a": (2, 30), "b": (2, 20)},
        ["m = a + b", "r = a + m"],
        "{name} has {a_thing}. {other} has {b} more {things} than {name}. How many {things} do they have together?",
        "{name} has {a_thing}. {other} has {a} + {b} = {m_thing}. {a} + {m} = {r}.",
        {"thing": _KEPT},
    ),
    Template(
        {"a": (2, 9), "b": (2, 9), "c": (2, 9)},
        ["m = b + c", "r = a * m"],
        "{name} packs {a_holder}. {He} puts {b_thing} and {c_food} into each {holder}. How many things does {he} pack in all?",
        "Each {holder} holds {b} + {c} = {m} things. There are {a_holder}. {a} * {m} = {r}.",
        {"thing": _KEPT, "food": _FOOD, "holder": _HOLDERS},
    ),
)
