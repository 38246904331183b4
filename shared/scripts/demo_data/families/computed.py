"""Computed questions whose answer is a number: arithmetic, word problems, units."""

from __future__ import annotations

from random import Random

from .drafts import Draft, Template, fill, number, phrase

_NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jonas",
          "Keiko", "Liam", "Maria", "Noah", "Olga", "Pedro", "Rosa", "Samir", "Tom")  # fmt: skip
_THINGS = ("apples", "marbles", "books", "stickers", "pencils", "coins", "cards", "shells",
           "oranges", "balloons", "stamps", "buttons")  # fmt: skip


def arithmetic(rng: Random) -> list[Draft]:
    """Draft 72 sums."""
    return fill(rng, _SUMS, 24)


def word_problems(rng: Random) -> list[Draft]:
    """Draft 72 little stories with a number at the end."""
    return fill(rng, _STORIES, 24)


def units(rng: Random) -> list[Draft]:
    """Draft 60 conversions."""
    return fill(rng, _CONVERSIONS, 20)


# Arithmetic

_FORMS = ("What is {}?", "Calculate {}.", "Compute {}.", "how much is {}?", "What's {}?",
          "Work out {}.", "I need the result of {}.")  # fmt: skip


def _ask(rng: Random, expression: str, value: float) -> Draft:
    return number(rng, phrase(_FORMS, expression), value)


def _small_sum(rng: Random) -> Draft:
    a, b = rng.randint(1, 9), rng.randint(1, 9)
    return _ask(rng, f"{a} + {b}", a + b)


def _small_difference(rng: Random) -> Draft:
    b, c = rng.randint(1, 8), rng.randint(1, 8)
    return _ask(rng, f"{b + c} - {b}", c)


def _small_product(rng: Random) -> Draft:
    a, b = rng.randint(2, 5), rng.randint(2, 10)
    return _ask(rng, f"{a} * {b}", a * b)


def _two_digit_sum(rng: Random) -> Draft:
    a, b = rng.randint(12, 89), rng.randint(12, 89)
    return _ask(rng, f"{a} + {b}", a + b)


def _two_digit_difference(rng: Random) -> Draft:
    b, c = rng.randint(12, 49), rng.randint(12, 49)
    return _ask(rng, f"{b + c} - {b}", c)


def _product(rng: Random) -> Draft:
    a, b = rng.randint(6, 12), rng.randint(6, 15)
    return _ask(rng, f"{a} times {b}", a * b)


def _quotient(rng: Random) -> Draft:
    b, c = rng.randint(3, 12), rng.randint(4, 15)
    return _ask(rng, f"{b * c} divided by {b}", c)


def _large_product(rng: Random) -> Draft:
    a, b = rng.randint(13, 69), rng.randint(4, 19)
    return _ask(rng, f"{a} * {b}", a * b)


def _precedence(rng: Random) -> Draft:
    a, b, c = rng.randint(11, 40), rng.randint(3, 12), rng.randint(3, 9)
    return _ask(rng, f"{a} + {b} * {c}", a + b * c)


def _brackets(rng: Random) -> Draft:
    a, b, c = rng.randint(11, 40), rng.randint(2, 10), rng.randint(3, 9)
    return _ask(rng, f"({a} - {b}) * {c}", (a - b) * c)


def _percentage(rng: Random) -> Draft:
    percent, whole = rng.choice((5, 15, 20, 25, 30, 35, 60, 75)), 20 * rng.randint(2, 30)
    return _ask(rng, f"{percent}% of {whole}", percent * whole / 100)


def _four_digit_sum(rng: Random) -> Draft:
    a, b = rng.randint(240, 4800), rng.randint(240, 4800)
    return _ask(rng, f"{a} + {b}", a + b)


def _remainder(rng: Random) -> Draft:
    a, b = rng.randint(30, 150), rng.randint(4, 13)
    return number(rng, f"What is the remainder when {a} is divided by {b}?", a % b)


_SUMS: tuple[tuple[Template, ...], ...] = (
    (_small_sum, _small_difference, _small_product),
    (_two_digit_sum, _two_digit_difference, _product, _quotient),
    (_large_product, _precedence, _brackets, _percentage, _four_digit_sum, _remainder),
)


# Word problems


def _gain(rng: Random) -> Draft:
    name, thing = rng.choice(_NAMES), rng.choice(_THINGS)
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    return number(
        rng,
        f"{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have now?",
        a + b,
    )


def _loss(rng: Random) -> Draft:
    name, thing = rng.choice(_NAMES), rng.choice(_THINGS)
    b, c = rng.randint(1, 7), rng.randint(2, 8)
    return number(
        rng, f"{name} had {b + c} {thing} and gave away {b}. How many {thing} are left?", c
    )


def _together(rng: Random) -> Draft:
    (one, two), thing = rng.sample(_NAMES, 2), rng.choice(_THINGS)
    a, b = rng.randint(2, 10), rng.randint(2, 10)
    return number(
        rng, f"{one} has {a} {thing}. {two} has {b}. How many {thing} do they have together?", a + b
    )


def _boxes(rng: Random) -> Draft:
    thing, a, b = rng.choice(_THINGS), rng.randint(3, 9), rng.randint(4, 12)
    return number(
        rng,
        f"There are {a} boxes with {b} {thing} in each. How many {thing} is that in total?",
        a * b,
    )


def _share(rng: Random) -> Draft:
    thing, a, b = rng.choice(_THINGS), rng.randint(3, 9), rng.randint(3, 12)
    return number(
        rng, f"{a * b} {thing} are shared equally among {a} children. How many does each get?", b
    )


def _shopping(rng: Random) -> Draft:
    name, a, price = rng.choice(_NAMES), rng.randint(2, 8), rng.randint(2, 9)
    return number(
        rng, f"A notebook costs ${price}. {name} buys {a}. What is the total in dollars?", a * price
    )


def _bus(rng: Random) -> Draft:
    start, off, on = rng.randint(15, 40), rng.randint(3, 12), rng.randint(3, 12)
    return number(
        rng,
        f"A bus has {start} passengers. At a stop {off} get off and {on} get on. "
        "How many passengers are on the bus now?",
        start - off + on,
    )


def _change(rng: Random) -> Draft:
    name, a, price = rng.choice(_NAMES), rng.randint(2, 6), rng.randint(2, 8)
    return number(
        rng,
        f"{name} pays for {a} sandwiches at ${price} each with a $50 note. "
        "How many dollars of change should there be?",
        50 - a * price,
    )


def _speed(rng: Random) -> Draft:
    hours, speed = rng.randint(2, 6), 5 * rng.randint(9, 20)
    return number(
        rng,
        f"A train goes {speed} km/h for {hours} hours. How many kilometres does it go?",
        hours * speed,
    )


def _ages(rng: Random) -> Draft:
    (one, two), age, gap = rng.sample(_NAMES, 2), rng.randint(6, 15), rng.randint(2, 8)
    return number(
        rng,
        f"{one} is {age} and {two} is {gap} years older. "
        "What will the sum of their ages be in 3 years?",
        2 * age + gap + 6,
    )


def _discount(rng: Random) -> Draft:
    price, percent = 20 * rng.randint(2, 12), rng.choice((10, 20, 25, 30, 40))
    return number(
        rng,
        f"A coat costs ${price} and is {percent}% off. How many dollars does it cost now?",
        price * (100 - percent) / 100,
    )


def _pages(rng: Random) -> Draft:
    name, days, first, more = (
        rng.choice(_NAMES), rng.randint(3, 6), rng.randint(8, 20), rng.randint(2, 5),
    )  # fmt: skip
    total = sum(first + more * day for day in range(days))
    return number(
        rng,
        f"{name} reads {first} pages on day one and {more} pages more each day than the day "
        f"before. How many pages has {name} read after {days} days?",
        total,
    )


def _garden(rng: Random) -> Draft:
    width, length = rng.randint(4, 15), rng.randint(16, 30)
    return number(
        rng,
        f"A rectangular garden is {length} m long and {width} m wide. "
        "How many metres of fence go all the way around it?",
        2 * (width + length),
    )


_STORIES: tuple[tuple[Template, ...], ...] = (
    (_gain, _loss, _together),
    (_boxes, _share, _shopping, _bus),
    (_change, _speed, _ages, _discount, _pages, _garden),
)


# Units

_EXACT_EASY = (
    ("How many centimetres are in {} m?", 100, (1, 2, 3)),
    ("How many minutes are in {} h?", 60, (1, 2, 3)),
    ("How many grams are in {} kg?", 1000, (1, 2, 5)),
    ("Convert {} km to metres.", 1000, (1, 3, 4)),
    ("How many seconds are in {} min?", 60, (1, 2, 5)),
    ("How many millilitres are in {} L?", 1000, (1, 2, 6)),
    ("How many hours are there in {} days?", 24, (1, 2)),
)
_EXACT_MEDIUM = (
    ("Convert {} km to metres.", 1000, (2.5, 0.4, 7.2)),
    ("How many inches are in {} feet?", 12, (4, 6, 7)),
    ("Convert {} kg to grams.", 1000, (1.2, 0.75, 3.4)),
    ("How many days are in {} weeks?", 7, (6, 8, 12)),
    ("{} minutes is how many hours?", 1 / 60, (90, 180, 240)),
    ("How many feet are in {} yards?", 3, (9, 14, 21)),
    ("{} mm in cm?", 1 / 10, (45, 120, 310)),
)


def _scaled(table: tuple[tuple[str, float, tuple[float, ...]], ...]) -> Template:
    def fill(rng: Random) -> Draft:
        form, factor, amounts = rng.choice(table)
        amount = rng.choice(amounts)
        return number(rng, form.format(amount), round(amount * factor, 6))

    return fill


def _fahrenheit(rng: Random) -> Draft:
    celsius = 5 * rng.randint(-4, 20)
    return number(rng, f"What is {celsius} degrees Celsius in Fahrenheit?", celsius * 9 / 5 + 32)


def _celsius(rng: Random) -> Draft:
    celsius = 5 * rng.randint(-2, 20)
    return number(rng, f"Convert {round(celsius * 9 / 5 + 32)} \u00b0F to \u00b0C.", celsius)


def _metres_per_second(rng: Random) -> Draft:
    speed = rng.randint(2, 30)
    return number(
        rng, f"{speed * 18 // 5 if speed % 5 == 0 else speed * 3.6:g} km/h in m/s?", speed
    )


def _clock(rng: Random) -> Draft:
    hours, minutes = rng.randint(2, 9), rng.randint(3, 57)
    return number(
        rng, f"How many minutes is {hours} hours and {minutes} minutes?", 60 * hours + minutes
    )


def _square(rng: Random) -> Draft:
    area = rng.randint(2, 12)
    return number(rng, f"How many square centimetres are in {area} square metres?", 10_000 * area)


def _pounds(rng: Random) -> Draft:
    pounds, ounces = rng.randint(2, 9), rng.randint(1, 15)
    return number(rng, f"How many ounces are in {pounds} lb {ounces} oz?", 16 * pounds + ounces)


def _days_in_seconds(rng: Random) -> Draft:
    hours = rng.randint(2, 9)
    return number(rng, f"How many seconds are there in {hours} hours?", 3600 * hours)


_CONVERSIONS: tuple[tuple[Template, ...], ...] = (
    (_scaled(_EXACT_EASY),),
    (_scaled(_EXACT_MEDIUM),),
    (_fahrenheit, _celsius, _metres_per_second, _clock, _square, _pounds, _days_in_seconds),
)
