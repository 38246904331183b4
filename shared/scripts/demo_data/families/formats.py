"""JSON to write, from values given outright or in a sentence."""

from __future__ import annotations

import json
from random import Random

from pydantic import JsonValue

from bestroute.learning.scoring.verifiers import JsonCheck

from .drafts import Draft, Template, fill

_NAMES = ("Ada", "Bruno", "Chen", "Dana", "Elif", "Finn", "Gita", "Hana", "Ivan", "Jo")
_CITIES = ("Lima", "Oslo", "Cairo", "Boston", "Delhi", "Porto", "Quito", "Turin")
_ITEMS = ("pen", "mug", "lamp", "chair", "bag", "clock", "scarf", "kettle")
_COLOURS = ("red", "green", "blue", "black", "white", "yellow")
_ONLY = ("Return only JSON.", "Only JSON, no other text.", "Reply with the JSON only.")


def json_values(rng: Random) -> list[Draft]:
    """Draft 48 requests for a piece of JSON."""
    return fill(rng, _LEVELS, 16)


def _json(rng: Random, question: str, value: JsonValue) -> Draft:
    return Draft(question, rng.choice(_ONLY), JsonCheck(expected=value))


def _copy(rng: Random) -> Draft:
    value: JsonValue = {"name": rng.choice(_NAMES), "age": rng.randint(18, 80)}
    return _json(rng, f"Repeat this JSON exactly: {json.dumps(value)}", value)


def _one_field(rng: Random) -> Draft:
    colour = rng.choice(_COLOURS)
    return _json(
        rng,
        f'Write a JSON object with the key "color" and the value "{colour}".',
        {"color": colour},
    )


def _short_list(rng: Random) -> Draft:
    numbers = sorted(rng.sample(range(1, 10), 3))
    spelled = ", ".join(map(str, numbers))
    return _json(rng, f"Write the numbers {spelled} as a JSON array.", list(numbers))


def _person(rng: Random) -> Draft:
    name, age, city = rng.choice(_NAMES), rng.randint(18, 80), rng.choice(_CITIES)
    ask = f'Extract name, age and city as a JSON object: "{name} is {age} and lives in {city}."'
    return _json(rng, ask, {"name": name, "age": age, "city": city})


def _product(rng: Random) -> Draft:
    item, price, sold = rng.choice(_ITEMS), rng.randint(3, 60), rng.random() < 0.5
    state = "out of stock" if sold else "in stock"
    ask = 'JSON with keys "item", "price" (number) and "in_stock" (boolean)'
    return _json(
        rng,
        f"{ask}: a {item} for ${price}, {state}.",
        {"item": item, "price": price, "in_stock": not sold},
    )


def _colour_list(rng: Random) -> Draft:
    colours = rng.sample(_COLOURS, 3)
    ask = f'Make a JSON object whose key "colors" holds the array of {" and ".join(colours)}.'
    return _json(rng, ask, {"colors": list(colours)})


def _order(rng: Random) -> Draft:
    name, (one, two) = rng.choice(_NAMES), rng.sample(_ITEMS, 2)
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    ask = (
        f'{name} orders {a} x {one} and {b} x {two}. Write it as {{"customer": string, '
        '"items": [{"name": string, "quantity": number}]}, names in singular.'
    )
    items: list[JsonValue] = [{"name": one, "quantity": a}, {"name": two, "quantity": b}]
    return _json(rng, ask, {"customer": name, "items": items})


def _nested(rng: Random) -> Draft:
    name, city, number = rng.choice(_NAMES), rng.choice(_CITIES), rng.randint(2, 99)
    ask = (
        f'JSON object with "user" (an object with "name" and "address", an object with "city" and '
        f'"number", a number) for {name}, who lives at number {number} in {city}.'
    )
    return _json(rng, ask, {"user": {"name": name, "address": {"city": city, "number": number}}})


def _missing(rng: Random) -> Draft:
    name, age = rng.choice(_NAMES), rng.randint(18, 80)
    ask = (
        f'Extract "name", "age" and "email" as JSON, null for what is not given: '
        f'"Hello, {name} here, I turned {age} today."'
    )
    return _json(rng, ask, {"name": name, "age": age, "email": None})


def _totals(rng: Random) -> Draft:
    numbers = [rng.randint(2, 20) for _ in range(3)]
    spelled = ", ".join(map(str, numbers))
    ask = f'JSON with "max", "min" and "count" of these numbers: {spelled}.'
    return _json(rng, ask, {"max": max(numbers), "min": min(numbers), "count": len(numbers)})


_LEVELS: tuple[tuple[Template, ...], ...] = (
    (_copy, _one_field, _short_list),
    (_person, _product, _colour_list),
    (_order, _nested, _missing, _totals),
)
