"""Values that no model has seen: names, places, numbers, codes, dates, sums.

Owns:   drawing them. Most are put together from syllables, so that only reading the prompt helps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ONSETS = _split("b br c ch cl d dr f fl g gr h j k kr l m n p pl qu r s sh sk st t th tr v w y z")
_VOWELS = _split("a e i o u ai ea ee ia oa ou y")
_CODAS = ("", "", "", *_split("l m n r s t ck ld nd ng rt sk st x"))
_FIRST_NAMES = _split(
    "Ada Ali Amara Anna Ben Bruno Carla Chen Clara Dana David Elena Emma Farid Fatima Felix Grace Hana "
    "Hugo Ines Ivan Jack Jana Joao Julia Kai Karim Lara Leo Lin Lucas Maria Marta Max Mei Mia Nadia Nina "
    "Noah Olga Omar Oscar Paul Priya Rosa Ruth Sam Sara Sofia Tara Theo Tom Uma Vera Victor Wei Yara "
    "Yusuf Zoe"
)
_PLACES = _split(
    "Lisbon Porto Berlin Leeds Oslo Nairobi Lima Quito Kyoto Osaka Delhi Perth Boston Denver Austin Lyon "
    "Ghent Turin Cork Malmo Tampere Gdansk Brno Varna Izmir Accra Cairo Tunis Hanoi Manila Dallas Madrid "
    "Vienna Zurich Dublin"
)
_THINGS = _split(
    "laptop lamp jacket kettle printer backpack chair headset blender tent bicycle scarf monitor keyboard "
    "toaster rug camera watch mug heater sofa drill router tablet speaker novel puzzle guitar racket "
    "helmet"
)
_COLOURS = _split("red blue green black white silver yellow purple grey orange")
_MONTHS = _split("January February March April May June July August September October November December")
_DAYS = ("today", "tomorrow", "tonight", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SIZES = ("small", "medium", "large", "extra large")
_LEVELS = ("low", "normal", "high", "urgent")


@dataclass(frozen=True, slots=True)
class SurpriseValue:
    """A value as the message says it and as the JSON holds it."""

    text: str
    value: str | int | bool


def draw_word(random: Random, *, syllables: int) -> str:
    """Make up a word of the given number of syllables."""
    parts = [random.choice(_ONSETS) + random.choice(_VOWELS) for _ in range(syllables)]
    return "".join(parts) + random.choice(_CODAS)


def _digits(random: Random, count: int) -> str:
    return str(random.randint(1, 9)) + "".join(str(random.randint(0, 9)) for _ in range(count - 1))


def _person(random: Random) -> str:
    first = random.choice(_FIRST_NAMES) if random.random() < 0.6 else draw_word(random, syllables=2).title()
    if random.random() < 0.4:
        return first
    return f"{first} {draw_word(random, syllables=random.choice((1, 2, 3))).title()}"


def _place(random: Random) -> str:
    if random.random() < 0.5:
        return random.choice(_PLACES)
    return " ".join(draw_word(random, syllables=2).title() for _ in range(random.choice((1, 1, 2))))


def _date(random: Random) -> str:
    day, month = random.randint(1, 28), random.choice(_MONTHS)
    forms = (
        f"{month} {day}",
        f"{day} {month}",
        f"{random.randint(2019, 2031)}-{_MONTHS.index(month) + 1:02d}-{day:02d}",
    )
    return random.choice((*forms, random.choice(_DAYS), f"next {random.choice(_DAYS[3:])}"))


def _time(random: Random) -> str:
    hour, minute = random.randint(1, 12), random.choice(("00", "15", "30", "45", "05", "20"))
    return random.choice((f"{hour} pm", f"{hour} am", f"{hour}:{minute}", f"{hour}:{minute} pm", "noon"))


def _code(random: Random) -> str:
    letters = "".join(random.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(random.randint(1, 3)))
    return random.choice((f"{letters}-{_digits(random, 4)}", f"{letters}{_digits(random, 6)}", _digits(random, 8)))


def _money(random: Random) -> str:
    whole = _digits(random, random.choice((1, 2, 2, 3, 4)))
    return random.choice((f"${whole}", f"{whole} euros", f"${whole}.{_digits(random, 2)}", f"{whole} dollars"))


def _thing(random: Random) -> str:
    noun = random.choice(_THINGS) if random.random() < 0.6 else draw_word(random, syllables=2)
    return f"{random.choice(_COLOURS)} {noun}" if random.random() < 0.4 else noun


def _title(random: Random) -> str:
    words = [draw_word(random, syllables=random.choice((1, 2))) for _ in range(random.choice((1, 2, 3)))]
    return " ".join(word.title() for word in words)


def _email(random: Random) -> str:
    name, host = draw_word(random, syllables=2), draw_word(random, syllables=2)
    return f"{name}{random.choice(('', '.', '_'))}{_digits(random, 2)}@{host}.{random.choice(('com', 'org', 'net'))}"


def _phone(random: Random) -> str:
    return random.choice((f"+{_digits(random, 2)} {_digits(random, 9)}", f"{_digits(random, 3)}-{_digits(random, 4)}"))


_KINDS: dict[str, Callable[[Random], str]] = {
    "person": _person,
    "place": _place,
    "date": _date,
    "time": _time,
    "code": _code,
    "money": _money,
    "thing": _thing,
    "title": _title,
    "email": _email,
    "phone": _phone,
    "size": lambda random: random.choice(_SIZES),
    "level": lambda random: random.choice(_LEVELS),
    "colour": lambda random: random.choice(_COLOURS),
}


def draw_value(random: Random, kind: str) -> SurpriseValue:
    """Draw a value of a kind; `count` is an integer in the JSON, everything else is the text that was said."""
    if kind == "count":
        number = random.randint(1, random.choice((5, 12, 60, 400)))
        return SurpriseValue(str(number), number)
    text = _KINDS[kind](random)
    return SurpriseValue(text, text)
