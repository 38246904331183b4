"""General knowledge, written by hand: question, accepted answers."""

from __future__ import annotations

from random import Random

from bestroute.learning.scoring.verifiers import TextCheck

from .drafts import LEVELS, ONE_WORD, SHORT, Draft, number

_Answers = tuple[str, ...] | int

_EASY: dict[str, _Answers] = {
    "What is the capital of France?": ("Paris",),
    "What's the capital of Japan?": ("Tokyo", "T\u014dky\u014d"),
    "Name the capital city of Italy.": ("Rome", "Roma"),
    "capital of spain?": ("Madrid",),
    "Which city is the capital of Germany?": ("Berlin",),
    "What is the capital of England?": ("London",),
    "What is the capital of Russia?": ("Moscow", "Moskva"),
    "What is the opposite of hot?": ("cold",),
    "What's the opposite of up?": ("down",),
    "Opposite of big?": ("small", "little", "tiny"),
    "What colour is grass?": ("green",),
    "What color is the sky on a clear day?": ("blue",),
    "Which planet do we live on?": ("Earth", "planet Earth"),
    "What is the largest ocean on Earth?": ("Pacific", "Pacific Ocean"),
    "Who wrote Romeo and Juliet?": ("Shakespeare", "William Shakespeare"),
    "What do bees make that people eat?": ("honey",),
    "What is the currency of Japan?": ("yen", "Japanese yen", "JPY"),
    "What is frozen water called?": ("ice",),
    "What is the first month of the year?": ("January",),
    "In which direction does the sun rise?": ("east", "eastward", "eastwards"),
    "Which animal says moo?": ("cow", "cows", "bull", "cattle"),
    "How many legs does a dog have?": 4,
    "What is the first letter of the English alphabet?": ("a",),
    "What language is mostly spoken in Mexico?": ("Spanish", "Mexican Spanish"),
}

_MEDIUM: dict[str, _Answers] = {
    "What is the capital of Canada?": ("Ottawa",),
    "Tell me the capital of Australia.": ("Canberra",),
    "What's the capital of Egypt?": ("Cairo",),
    "capital of norway?": ("Oslo",),
    "Which city is the capital of Poland?": ("Warsaw", "Warszawa"),
    "What is the capital of Portugal?": ("Lisbon", "Lisboa"),
    "What is the chemical symbol for gold?": ("Au",),
    "Chemical symbol of iron?": ("Fe",),
    "What is the chemical symbol for sodium?": ("Na",),
    "Who wrote the novel 1984?": ("Orwell", "George Orwell"),
    "Who wrote Pride and Prejudice?": ("Austen", "Jane Austen"),
    "Which planet is the largest in our solar system?": ("Jupiter",),
    "Which planet is known as the Red Planet?": ("Mars",),
    "In which year did World War II end?": 1945,
    "What is the fastest land animal?": ("cheetah", "cheetahs"),
    "Who painted the Mona Lisa?": (
        "Leonardo da Vinci",
        "da Vinci",
        "Leonardo",
        "Leonardo DaVinci",
        "DaVinci",
    ),  # fmt: skip
    "Which gas do plants take in for photosynthesis?": ("carbon dioxide", "CO2"),
    "What is the highest mountain on Earth above sea level?": (
        "Everest",
        "Mount Everest",
        "Mt. Everest",
        "Mt Everest",
    ),  # fmt: skip
    "What is the hardest natural mineral?": ("diamond", "diamonds"),
    "Who was the first person to walk on the Moon?": ("Neil Armstrong", "Armstrong"),
    "What language is mostly spoken in Austria?": ("German", "Austrian German"),
    "How many sides does a hexagon have?": 6,
    "How many legs does a spider have?": 8,
    "In which country are the pyramids of Giza?": ("Egypt",),
}

_HARD: dict[str, _Answers] = {
    "What is the capital of Mongolia?": ("Ulaanbaatar", "Ulan Bator", "Ulanbator"),
    "What's the capital of Slovenia?": ("Ljubljana",),
    "Name the capital of Uruguay.": ("Montevideo",),
    "What is the capital of New Zealand?": ("Wellington",),
    "capital of ghana?": ("Accra",),
    "Which city is the capital of Latvia?": ("Riga", "R\u012bga"),
    "What is the capital of Bhutan?": ("Thimphu", "Thimpu"),
    "What is the capital of Burkina Faso?": ("Ouagadougou", "Wagadugu"),
    "What is the chemical symbol for tungsten?": ("W",),
    "Chemical symbol for potassium?": ("K",),
    "What is the chemical symbol for tin?": ("Sn",),
    "What is the chemical symbol for lead?": ("Pb",),
    "What is the atomic number of carbon?": 6,
    "What is the atomic number of iron?": 26,
    "In which year did the French Revolution begin?": 1789,
    "In which year did the Berlin Wall fall?": 1989,
    "In which year was Magna Carta first sealed?": 1215,
    "Who wrote Don Quixote?": (
        "Cervantes",
        "Miguel de Cervantes",
        "Miguel Cervantes",
        "Miguel de Cervantes Saavedra",
    ),  # fmt: skip
    "Who wrote Crime and Punishment?": (
        "Dostoevsky",
        "Fyodor Dostoevsky",
        "Dostoyevsky",
        "Fyodor Dostoyevsky",
        "Dostoevskij",
    ),  # fmt: skip
    "Who composed The Four Seasons?": ("Vivaldi", "Antonio Vivaldi"),
    "Who painted Guernica?": ("Picasso", "Pablo Picasso"),
    "What is the SI unit of electrical resistance?": ("ohm", "ohms", "\u03a9"),
    "What is the currency of Hungary?": ("forint", "Hungarian forint", "HUF", "forints"),
    "Who discovered penicillin?": ("Alexander Fleming", "Fleming", "Sir Alexander Fleming"),
}


def facts(rng: Random) -> list[Draft]:
    """Draft 72 questions of general knowledge."""
    tables = zip(LEVELS, (_EASY, _MEDIUM, _HARD), strict=True)
    return [
        _draft(rng, question, answers)._replace(difficulty=difficulty)
        for difficulty, table in tables
        for question, answers in table.items()
    ]


def _draft(rng: Random, question: str, answers: _Answers) -> Draft:
    if isinstance(answers, int):
        return number(rng, question, answers)
    endings = ONE_WORD if " " not in answers[0] else SHORT
    return Draft(question, rng.choice(endings), TextCheck(accept=answers))
