"""The parts of which findings on the data are made."""

import json
from collections.abc import Iterator

from gorae.report.eda_page import Finding, Section, Severity
from gorae.report.numbers import Count
from gorae.report.texts import Text

COMPETITION = "competition.toml"

Found = Iterator[Finding]


def make_finding(
    severity: Severity,
    section: Section,
    what: tuple[str, str],
    do: tuple[str, str] | None = None,
    *,
    setting: str | None = None,
) -> Finding:
    """A finding of English and Korean pairs; ``setting`` belongs into competition.toml."""
    return Finding(
        severity=severity,
        section=section,
        what=Text(*what),
        do=None if do is None else Text(*do),
        setting=setting,
        file=None if setting is None else COMPETITION,
    )


def code(name: object) -> str:
    """A name of the data as code; its own backticks would end it."""
    return f"`{str(name).replace('`', chr(39))}`"


def group_setting(column: str) -> str:
    """The setting that keeps what shares a value of ``column`` together."""
    # A string of JSON is one of TOML, whatever the name holds.
    return f"train.group_columns = [{json.dumps(column, ensure_ascii=False)}]"


def plural(n: int, words: str) -> str:
    """A number with the English word that fits it: ``1 row``, ``12 rows``."""
    return format(Count(n), words)
