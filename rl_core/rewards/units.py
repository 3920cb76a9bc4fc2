r"""The closed list of units that may stand behind a number without changing the answer."""

import re

_WORDS = """
in inch inches ft foot feet yd yard yards mi mile miles
mm cm dm km millimeter millimeters centimeter centimeters meter meters kilometer kilometers
millimetre millimetres centimetre centimetres metre metres kilometre kilometres
kg mg gram grams kilogram kilograms milligram milligrams lb lbs pound pounds oz ounce ounces ton tons
ml liter liters litre litres milliliter milliliters gallon gallons quart quarts pint pints cup cups
sec second seconds min minute minutes hr hrs hour hours day days week weeks month months year years
mph kph degree degrees deg radian radians percent pct percentage unit units
dollar dollars cent cents euro euros yen rupee rupees
""".split()
_LETTER = "[mglsh]"  # units of one letter: only inside \text{} or behind a slash, where they cannot be variables
_SYMBOL = "[NJWVAKCFT]|[kMG]?Hz|k?Pa|k[NJWV]|kWh|eV|mol|rpm"  # likewise: only inside \text{}

_WORD = "|".join([*sorted(_WORDS, key=len, reverse=True), "m ?/ ?s"])
_SIZE = r"(?:(?:square|cubic|sq\.?|cu\.?) )?"
_POWER = r"(?: ?\^ ?(?:[23]|\{[23]\}))?"


def _phrase(word: str) -> str:
    return rf"{_SIZE}(?:{word}){_POWER}(?: ?(?:/|per) ?(?:{_WORD}|{_LETTER}){_POWER})?\.?"


_IN_TEXT = _phrase(rf"{_WORD}|{_LETTER}|{_SYMBOL}")
_SPACE = r"(?:\\,|\\ | |~)*"
_COMMAND = r"\\(?:text|mbox|mathrm|textrm|textbf|textit|mathbf)"
_BEHIND = re.compile(rf"{_SPACE}(?:{_COMMAND} ?\{{ ?{_IN_TEXT} ?\}}{_POWER}|{_phrase(_WORD)})")
# Behind a number alone, primes are minutes, seconds, feet or inches.
_PRIMES = re.compile(r"([-+]? ?\d[\d.,]*) ?(?:'{1,2}|\"|\^ ?(?:\{ ?(?:\\prime ?){1,2}\}|\\prime))")
_START = re.compile(rf"{_SPACE}(?:{_COMMAND}|[a-z])")


def without_unit(answer: str) -> str:
    r"""`answer` without the unit behind its number: `10\text{ cm}^2`, `10 square feet`, `10 km/h`, `10'` become `10`.

    Unchanged where bare words follow something that does not end like a number, or where what follows is not in the
    list.
    """
    if primes := _PRIMES.fullmatch(answer):
        return primes[1]
    for start in _START.finditer(answer):
        if start.start() and ("\\" in start[0] or answer[start.start() - 1] in "0123456789}."):
            unit = _BEHIND.fullmatch(answer, start.start())
            if unit:
                return answer[: start.start()]
    return answer


def is_unit(words: str) -> bool:
    """Whether words are a unit of the list."""
    return re.fullmatch(_IN_TEXT, words) is not None
