"""Texts to classify, written by hand."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from .drafts import Difficulty, Draft, choice, phrase


class _Task(NamedTuple):
    question: str
    options: tuple[str, ...]
    texts: tuple[tuple[Difficulty, str, str], ...]  # difficulty, label, text


_SENTIMENT = _Task(
    "Is this review positive or negative?",
    ("positive", "negative"),
    (
        (1, "positive", "I love this phone, it is great!"),
        (1, "negative", "Terrible food, awful service, never again."),
        (1, "positive", "What a wonderful hotel. We were so happy here."),
        (1, "negative", "This is the worst book I have ever read."),
        (2, "positive", "Excellent quality and a very friendly seller."),
        (1, "negative", "I hate it. Broken after one day."),
        (2, "positive", "Arrived early, fits perfectly, would buy again."),
        (2, "negative", "The battery lasts about as long as a sneeze."),
        (2, "positive", "I expected little and was surprised in the best way."),
        (2, "negative", "Two hours of my life that I will not get back."),
        (3, "negative", "Oh great, another update that deletes my photos. Just what I needed."),
        (3, "positive", "Not a single thing I could complain about, and I tried."),
        (3, "negative", "The trailer was good. I should have stopped there."),
        (
            3,
            "positive",
            "I was sure that I would return it, but they will have to fight me for it.",
        ),
        (3, "negative", "If you enjoy waiting, the service here is hard to beat."),
    ),
)
_TOPIC = _Task(
    "Which topic fits this headline: sports, politics, science or business?",
    ("sports", "politics", "science", "business"),
    (
        (1, "sports", "Local football team wins the cup final 3-1"),
        (1, "politics", "Parliament votes on new election law"),
        (1, "science", "Scientists discover a new species of deep-sea fish"),
        (1, "business", "Company profits rise as sales double"),
        (2, "sports", "Veteran goalkeeper retires after twenty seasons"),
        (2, "politics", "Mayor announces she will run for governor"),
        (2, "science", "Telescope spots water vapour around a distant planet"),
        (2, "business", "Airline shares fall after weak quarterly report"),
        (3, "business", "Club sold to investment fund for a record sum"),
        (3, "science", "What a sprinter's knees reveal about how tendons store energy"),
        (3, "politics", "Minister resigns over the stadium contract"),
        (3, "sports", "Rookie stuns the champion after a night without sleep"),
    ),
)
_SPAM = _Task(
    "Is this message spam or not spam?",
    ("spam", "not spam"),
    (
        (1, "spam", "CONGRATULATIONS!!! You won $1,000,000! Click here now!!!"),
        (2, "spam", "Free pills, cheap watches, buy now, limited offer!"),
        (1, "not spam", "Hi mum, I will be home at six. See you soon."),
        (2, "spam", "Your account is locked. Send your password to unlock it today."),
        (2, "not spam", "The meeting moved to 3 pm, same room. Agenda attached."),
        (2, "not spam", "Can you pick up milk on the way home?"),
        (3, "not spam", "You won! The committee picked your poster, come by to collect the prize."),
        (3, "spam", "Hello dear, I am a lawyer with a discreet matter that will profit us both."),
    ),
)
_LANGUAGE = _Task(
    "Which language is this: English, French, German, Spanish, Italian or Dutch?",
    ("English", "French", "German", "Spanish", "Italian", "Dutch"),
    (
        (1, "English", "The weather is nice today."),
        (1, "French", "Bonjour, je voudrais un caf\u00e9, s'il vous pla\u00eet."),
        (1, "German", "Guten Morgen, wie geht es Ihnen?"),
        (2, "Spanish", "\u00bfD\u00f3nde est\u00e1 la estaci\u00f3n de tren?"),
        (2, "German", "Der Zug nach Hamburg kommt heute sp\u00e4ter."),
        (3, "French", "Nous avons oubli\u00e9 les cl\u00e9s dans la voiture."),
        (2, "Italian", "Domani andiamo al mare con gli amici."),
        (3, "Dutch", "Morgen gaan we met de fiets naar het strand."),
        (3, "Italian", "Non so se domani piove."),
        (3, "Dutch", "Hij heeft geen tijd om te koken."),
    ),
)
_PART_OF_SPEECH = _Task(
    "Is the word in capitals a noun, a verb or an adjective?",
    ("noun", "verb", "adjective"),
    (
        (1, "noun", "The DOG sleeps."),
        (1, "verb", "We RUN every morning."),
        (2, "adjective", "She bought a RED car."),
        (2, "noun", "They crossed the BRIDGE slowly."),
        (2, "adjective", "It was a LONG day."),
        (3, "verb", "Please BOOK a table for two."),
        (3, "noun", "His RUN lasted an hour."),
        (3, "verb", "They WATER the plants on Sundays."),
    ),
)
_KINGDOM = _Task(
    "Is this an animal, a plant or a mineral?",
    ("animal", "plant", "mineral"),
    (
        (1, "animal", "tiger"),
        (1, "plant", "rose"),
        (1, "animal", "elephant"),
        (1, "plant", "oak tree"),
        (2, "mineral", "quartz"),
        (3, "animal", "coral"),
        (3, "mineral", "feldspar"),
    ),
)


def classification(rng: Random) -> list[Draft]:
    """Draft 60 texts to classify."""
    forms = ('{0} "{1}"', "{1}\n{0}", "Text: {1}\n{0}", '{0}\n"{1}"')
    return [
        choice(rng, phrase(forms, task.question, text), label, task.options)._replace(
            difficulty=difficulty
        )
        for task in (_SENTIMENT, _TOPIC, _SPAM, _LANGUAGE, _PART_OF_SPEECH, _KINGDOM)
        for difficulty, label, text in task.texts
    ]
