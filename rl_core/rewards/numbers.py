r"""Exact rational numbers in the ways models write them. No floats: what is not exactly a rational is not one here.

Understood: 42, +42, -42, 042, 42., 42.0, .5, 1,000, 1{,}000, 1\,000, 1 000, 3/4, \frac{3}{4}, \frac34, -\frac{3}{4},
and fractions of decimals. Not understood, so that nothing is paid by accident: mixed numbers, exponents, percents.
"""

import re
import unicodedata
from fractions import Fraction

MAX_DIGITS = 1000  # of a fraction; the cost of an exact quotient grows with the square of its digits

_SEPARATED = r"\d{1,3}(?:(?:,\\! ?|\{,\}|\\,|\\ |,| )\d{3})+"
_DECIMAL = rf"(?:{_SEPARATED}|\d+)(?:\.\d*)?|\.\d+"
_SIGN = r"[+-]? ?"
_NUMBER = re.compile(rf"({_SIGN})({_DECIMAL})")
_FRACTION = re.compile(
    rf"({_SIGN})(?:\\[dtc]?frac *(?:\{{ *({_SIGN}(?:{_DECIMAL})) *\}}|(\d)) *(?:\{{ *({_SIGN}(?:{_DECIMAL})) *\}}|(\d))"
    rf"|({_DECIMAL}) ?/ ?({_DECIMAL}))"
)
_NOT_DIGITS = re.compile(r"[^\d.]")
_CANONICAL = re.compile(r"-?\d+(?:[./]\d+)?")


def with_plain_digits(text: str) -> str:
    """The text with the decimal digits of other scripts, such as full-width ones, as those of ASCII."""
    return text if text.isascii() else "".join(str(unicodedata.decimal(character, character)) for character in text)


def canonical_rational(text: str) -> str | None:
    """The one spelling of the rational number that `text` is: `-3`, `7/2`. None when it is not a rational number.

    Numbers are equal if and only if their spellings are. Numbers of more than MAX_DIGITS digits keep a decimal
    spelling, which whole numbers share whatever their length.
    """
    if text.isascii() and text.isdigit():  # most answers
        return text.lstrip("0") or "0"
    if match := _NUMBER.fullmatch(text):
        sign, digits = match.groups()
        return _spell(_sign(sign), *_parts(digits))
    if match := _FRACTION.fullmatch(text):
        sign, *parts = match.groups()
        numerator, denominator = (part for part in parts if part)
        return _quotient(_sign(sign), numerator, denominator)
    return None


def _sign(text: str) -> int:
    return -1 if "-" in text else 1


def _parts(text: str) -> tuple[str, str]:
    """Digits before and behind the point, without the zeros that say nothing."""
    whole, _, decimals = _NOT_DIGITS.sub("", text).partition(".")
    return whole.lstrip("0"), decimals.rstrip("0")


def _spell(sign: int, whole: str, decimals: str) -> str:
    if not decimals:
        return ("-" if sign < 0 and whole else "") + (whole or "0")
    if len(whole) + len(decimals) > MAX_DIGITS:
        return f"{'-' if sign < 0 else ''}{whole or '0'}.{decimals}"
    return str(sign * Fraction(int(whole + decimals), 10 ** len(decimals)))


def _quotient(sign: int, numerator: str, denominator: str) -> str | None:
    values = []
    for text in (numerator, denominator):
        whole, decimals = _parts(text)
        if len(whole) + len(decimals) > MAX_DIGITS:
            return None
        values.append(_sign(text) * Fraction(int(whole + decimals or "0"), 10 ** len(decimals)))
    return str(sign * values[0] / values[1]) if values[1] else None


def is_rational(spelling: str) -> bool:
    """Whether a canonical spelling is that of a rational number."""
    return _CANONICAL.fullmatch(spelling) is not None
