"""What ``--vary`` says: changes of a recipe that are compared with it."""

import re
from collections.abc import Callable, Sequence
from itertools import product

from gorae.errors import ConfigError

_NEXT_SETTING = re.compile(r"\s+[\w.]+\s*=")
_OPENING, _CLOSING = "[{", "]}"
# Where a value begins; elsewhere an apostrophe is a letter of a file's name.
_BEFORE_QUOTE = "=,[{ "


def parse_variants(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The changes of each variant, as ``resolve_recipe`` takes them; none stands twice.

    ``train.lr=1e-3`` is one variant, ``train.lr=1e-3,1e-4`` are two: a comma outside of
    brackets and quotes separates values. Settings with a space between them change together:
    ``augment.mixup=0.2 augment.cutmix=1`` is one variant. Where several of these have several
    values, each combination is a variant.

    Raises:
        ConfigError: A text has a setting without value, or its brackets do not close.
    """
    found: list[tuple[str, ...]] = []
    for text in texts:
        settings = _cut(text, _is_gap)
        found += product(*(_changes(setting, text) for setting in settings))
    return list(dict.fromkeys(found))


def _changes(setting: str, text: str) -> list[str]:
    """One change per value of ``a.b=1,2``."""
    name, equals, values = setting.partition("=")
    separated = _cut(values, _is_comma)
    if not equals or not name.strip() or not all(separated):
        raise ConfigError(
            f"{text!r}: {setting!r} is not of the form name=value or name=value,value. Write "
            "train.lr=1e-3,1e-4 for two variants, and settings that change together with a "
            "space between them."
        )
    return [f"{name.strip()}={value}" for value in separated]


def _is_gap(text: str, place: int) -> bool:
    """Whether the space at ``place`` stands before the name of a setting."""
    return _NEXT_SETTING.match(text, place) is not None


def _is_comma(text: str, place: int) -> bool:
    return text[place] == ","


def _cut(text: str, is_cut: Callable[[str, int], bool]) -> list[str]:
    """Pieces of ``text`` between the places of ``is_cut`` outside of brackets and quotes."""
    pieces, depth, quote, start = [], 0, "", 0
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote and text[place - 1] != "\\" else quote
        elif sign in "\"'" and text[:place][-1:] in _BEFORE_QUOTE:
            quote = sign
        elif sign in _OPENING + _CLOSING:
            depth += 1 if sign in _OPENING else -1
        elif depth == 0 and is_cut(text, place):
            pieces.append(text[start:place])
            start = place + 1
    if depth or quote:
        raise ConfigError(f"{text!r}: its brackets or quotes do not close.")
    return [piece.strip() for piece in (*pieces, text[start:])]
