"""Texts with values put in, in both languages at once."""

from collections.abc import Mapping

from gorae.report.numbers import Count, printable
from gorae.report.texts import TEXTS, Language, Text


def fill(texts: Mapping[str, Text], key: str, **values: object) -> Text:
    """The text of ``key`` with ``values`` put in; not escaped.

    What ``texts`` lacks is taken of those that all pages share. A ``Text`` among the values is
    put in by language.
    """

    def filled(language: Language) -> str:
        chosen = {
            name: getattr(value, language) if isinstance(value, Text) else value
            for name, value in values.items()
        }
        shown = {
            name: value if isinstance(value, Count) else printable(str(value))
            for name, value in chosen.items()
        }
        text = texts.get(key) or TEXTS[key]
        return str(getattr(text, language)).format(**shown)

    return Text(filled("en"), filled("ko"))
