"""Computed questions about words and about the calendar."""

from __future__ import annotations

import calendar
from datetime import date, timedelta
from random import Random

from bestroute.learning.scoring.verifiers import DateCheck, TextCheck

from .drafts import ONE_WORD, SHORT, Draft, Template, choice, fill, number, phrase, word

_WORDS = ("table", "garden", "music", "planet", "orange", "bridge", "window", "silver", "rocket",
          "forest", "kitten", "pepper", "camera", "dragon", "island", "market", "needle", "pocket",
          "summer", "ticket", "velvet", "winter", "yellow", "basket", "candle", "doctor", "engine",
          "finger", "guitar", "hammer", "jacket", "ladder", "mirror", "number", "parrot", "rabbit",
          "saddle", "tunnel", "violin", "wallet")  # fmt: skip
_SHORT_WORDS = ("cat", "dog", "sun", "map", "pen", "box", "fish", "lamp", "tree", "milk", "star",
                "wolf", "bird", "desk", "coin", "frog")  # fmt: skip
_SENTENCES = (
    "the old clock stopped at noon",
    "seven ducks crossed a quiet road",
    "fresh bread smells good every morning",
    "our train leaves in ten minutes",
    "green tea tastes better without sugar",
    "nobody noticed the small blue door",
    "rain fell softly on the roof",
    "my sister plays chess with strangers",
    "they painted every chair bright red",
    "strong winds closed both mountain roads",
)
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_WEEKDAYS = tuple(calendar.day_name)
_MONTHS = tuple(calendar.month_name)[1:]


def strings(rng: Random) -> list[Draft]:
    """Draft 60 questions about letters and words."""
    return fill(rng, _STRINGS, 20)


def dates(rng: Random) -> list[Draft]:
    """Draft 60 questions about the calendar."""
    return fill(rng, _DATES, 20)


# Strings

_LETTER_FORMS = ("What is the {} letter of '{}'?", "Which letter is {} in the word '{}'?")
_CAPITAL_FORMS = (
    "Write the word '{}' in capital letters.",
    "Uppercase this: {}.",
    "Turn '{}' into ALL CAPS.",
)


def _edge_letter(rng: Random) -> Draft:
    text, place = rng.choice(_WORDS), rng.choice((0, 0, -1))
    name = "first" if place == 0 else "last"
    ask = phrase(_LETTER_FORMS, name, text)
    return Draft(ask, "Reply with the letter only.", TextCheck(accept=(text[place],)))


def _capitals(rng: Random) -> Draft:
    text = rng.choice(_WORDS)
    check = TextCheck(accept=(text.upper(),), case_sensitive=True)
    return Draft(phrase(_CAPITAL_FORMS, text), rng.choice(ONE_WORD), check)


def _repeat(rng: Random) -> Draft:
    text = rng.choice(_WORDS)
    return word(rng, f"Repeat this word: {text}.", text)


def _edge_word(rng: Random) -> Draft:
    sentence, place = rng.choice(_SENTENCES), rng.choice((0, -1))
    name = "first" if place == 0 else "last"
    return word(rng, f'What is the {name} word of "{sentence}"?', sentence.split()[place]
    )  # fmt: skip


def _nth_word(rng: Random) -> Draft:
    sentence, place = rng.choice(_SENTENCES), rng.randint(1, 4)
    ask = f'Which word is the {_ORDINALS[place]} one in this sentence? "{sentence}"'
    return word(rng, ask, sentence.split()[place])


def _plural(rng: Random) -> Draft:
    text = rng.choice([item for item in _WORDS if item[-1] not in "ycxs"])
    return word(rng, f"What is the plural of '{text}'?", f"{text}s")


def _letters(rng: Random) -> Draft:
    text = rng.choice(_WORDS + _SHORT_WORDS)
    return number(rng, f"How many letters are in the word '{text}'?", len(text))


def _count_words(rng: Random) -> Draft:
    sentence = " ".join(rng.choice(_SENTENCES).split()[: rng.randint(3, 6)])
    return number(rng, f'How many words are in "{sentence}"?', len(sentence.split()))


def _count_letter(rng: Random) -> Draft:
    text = rng.choice(_WORDS)
    letter = rng.choice(text)
    return number(
        rng, f"How many times does the letter '{letter}' occur in '{text}'?", text.count(letter)
    )


def _backwards(rng: Random) -> Draft:
    text = rng.choice(_SHORT_WORDS)
    return word(rng, f"Spell '{text}' backwards.", text[::-1])


def _alphabetical(rng: Random) -> Draft:
    items = rng.sample(_WORDS, 3)
    return word(rng, f"Which comes first in the alphabet: {', '.join(items)}?", min(items)
    )  # fmt: skip


def _initials(rng: Random) -> Draft:
    items = rng.sample(_WORDS, 3)
    initials = "".join(item[0] for item in items).upper()
    ask = f"Join the first letters of these words: {' '.join(items)}."
    check = TextCheck(accept=(initials, " ".join(initials)))
    return Draft(ask, rng.choice(SHORT), check)


_STRINGS: tuple[tuple[Template, ...], ...] = (
    (_edge_letter, _capitals, _repeat),
    (_edge_word, _plural, _letters, _count_words),
    (_nth_word, _count_letter, _backwards, _alphabetical, _initials),
)


# Dates


def _next_day(rng: Random) -> Draft:
    day = rng.randrange(7)
    ask = phrase(("What day comes after {}?", "Which weekday follows {}?"), _WEEKDAYS[day])
    return word(rng, ask, _WEEKDAYS[(day + 1) % 7])


def _next_month(rng: Random) -> Draft:
    month = rng.randrange(12)
    ask = phrase(("Which month comes after {}?", "What month follows {}?"), _MONTHS[month])
    return word(rng, ask, _MONTHS[(month + 1) % 12])


def _days_in_month(rng: Random) -> Draft:
    month = rng.choice([0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    return number(
        rng, f"How many days are in {_MONTHS[month]}?", calendar.monthrange(2023, month + 1)[1]
    )


def _some_date(rng: Random) -> date:
    return date(2019, 1, 1) + timedelta(days=rng.randrange(2900))


def _spelled(day: date) -> str:
    return f"{_MONTHS[day.month - 1]} {day.day}, {day.year}"


def _iso(ask: str, day: date) -> Draft:
    return Draft(ask, "Reply as YYYY-MM-DD only.", DateCheck(iso=day))


def _to_iso(rng: Random) -> Draft:
    day = _some_date(rng)
    forms = ("Write {} as YYYY-MM-DD.", "Convert {} to the format YYYY-MM-DD.")
    return Draft(phrase(forms, _spelled(day)), rng.choice(SHORT), DateCheck(iso=day))


def _weekday_after(rng: Random) -> Draft:
    day, ahead = rng.randrange(7), rng.randint(2, 6)
    ask = f"If today is {_WEEKDAYS[day]}, what day is it in {ahead} days?"
    return word(rng, ask, _WEEKDAYS[(day + ahead) % 7])


def _days_between(rng: Random) -> Draft:
    month, start, length = rng.choice(_MONTHS), rng.randint(1, 12), rng.randint(4, 15)
    ask = f"How many days after {month} {start} is {month} {start + length}?"
    return number(rng, ask, length)


def _date_after(rng: Random) -> Draft:
    day, ahead = _some_date(rng), rng.choice((1, 7, 10, 14, 20, 30))
    plural = "s" if ahead > 1 else ""
    ask = f"What is the date {ahead} day{plural} after {_spelled(day)}?"
    return _iso(ask, day + timedelta(days=ahead))


def _date_before(rng: Random) -> Draft:
    day, back = _some_date(rng), rng.choice((2, 5, 7, 14))
    ask = f"Which date is {back} days before {day.isoformat()}?"
    return _iso(ask, day - timedelta(days=back))


def _leap_year(rng: Random) -> Draft:
    year = rng.choice((1900, 1996, 2000, 2008, 2018, 2023, 2024, 2030, 2100))
    label = "yes" if calendar.isleap(year) else "no"
    return choice(rng, f"Is {year} a leap year, yes or no?", label, ("yes", "no"))


def _days_across(rng: Random) -> Draft:
    start = _some_date(rng)
    end = start + timedelta(days=rng.randint(12, 45))
    ask = f"How many days after {_spelled(start)} is {_spelled(end)}?"
    return number(rng, ask, (end - start).days)


_DATES: tuple[tuple[Template, ...], ...] = (
    (_next_day, _next_month, _days_in_month),
    (_to_iso, _weekday_after, _days_between),
    (_date_after, _date_before, _leap_year, _days_across),
)
