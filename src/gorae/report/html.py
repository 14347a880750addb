"""The plumbing of a page: its own files, its policy, its data, its two languages."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import plotly.offline
from markupsafe import Markup, escape

from gorae.report import numbers
from gorae.report.drawing import Chart
from gorae.report.pictures import data_uri
from gorae.report.texts import LANGUAGES, TEXTS, Language, Text
from gorae.report.theme import THEMES

PACKAGE_FOLDER = Path(__file__).parent
# Long tables belong into a file; a page shows the beginning and says how much is left.
MAX_TABLE_ROWS = 50


def read_own(name: str) -> str:
    """The text of a file that lies beside this module."""
    return (PACKAGE_FOLDER / name).read_text("utf-8")


def own(text: str) -> Markup:
    """A file of this package or of plotly, put in as it is."""
    return Markup(text)  # noqa: S704 - nothing of a competition is in it


def as_script(text: str) -> str:
    """A script as the browser will hash it."""
    # Browsers hash what they parsed, and parsing turns every line end into \n.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    assert "</script" not in text.lower()
    return text


def policy_of(scripts: list[str]) -> str:
    """The content security policy of a page: no script but these, and nothing from outside."""
    hashes = [hashlib.sha256(script.encode("utf-8")).digest() for script in scripts]
    sources = " ".join(f"'sha256-{base64.b64encode(h).decode('ascii')}'" for h in hashes)
    # Plotly sets style attributes; a style can reach nothing, as no address may be loaded.
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def json_for_script(value: Any) -> Markup:
    """JSON that is safe inside a script element, whatever the names in it hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 - no sign with a meaning in HTML is left


def figures_of(charts: Mapping[str, Chart]) -> dict[str, Any]:
    """What plotly draws, by name of the chart."""
    return {name: chart.figure for name, chart in charts.items()}


def render_page(
    template: str,
    values: Mapping[str, Any],
    *,
    charts: Mapping[Language, Mapping[str, Chart]],
    tell: Callable[..., Text] | None = None,
    files: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
) -> str:
    """One page as HTML that needs nothing beside it, and always the same for the same values.

    Every value is escaped; no script but the page's own can run, since the content security
    policy lists their hashes.

    Args:
        template: Its file, which extends ``_page.html``.
        values: What the template places.
        charts: The charts by name, for each language.
        tell: Texts of the page, by key; absent: those that all pages share.
        files: Scripts and styles beside those of every page.
        data: What its scripts read, beside the charts.
    """
    scripts = [plotly.offline.get_plotlyjs(), read_own("report.js")]
    scripts += [read_own(name) for name in files if name.endswith(".js")]
    scripts = [as_script(script) for script in scripts]
    styles = [read_own(name) for name in ("report.css", *files) if name.endswith(".css")]
    environment = build_environment()
    if tell is not None:
        environment.globals |= {
            "t": lambda key, **shown: _both(tell(key, **shown)),
            "tp": lambda key, **shown: _prose(tell(key, **shown)),
        }
    return environment.get_template(template).render(
        **values,
        charts=charts["en"],
        chart_data=json_for_script(
            {
                "themes": {name: {"layout": theme["layout"]} for name, theme in THEMES.items()},
                "charts": {language: figures_of(found) for language, found in charts.items()},
                **(data or {}),
            }
        ),
        style=own("".join(styles)),
        scripts=[own(script) for script in scripts],
        policy=policy_of(scripts),
    )


def build_environment() -> jinja2.Environment:
    """Templates of this package: every value escaped, every name there, two languages."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PACKAGE_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: numbers.printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": numbers.number,
        "signed": numbers.signed,
        "percent": numbers.percent,
        "count": numbers.count,
        "counted": numbers.Count,
        "duration": numbers.duration,
        "data_uri": data_uri,
    }
    environment.globals |= {
        "t": _both_languages,
        "both": _both,
        "prose": _prose,
        "max_rows": MAX_TABLE_ROWS,
    }
    return environment


def _both_languages(key: str, **values: object) -> Markup:
    """The text of ``key`` in all languages, values escaped; the page shows one of them."""
    shown = {
        name: value if isinstance(value, Text | numbers.Count) else Text(str(value), str(value))
        for name, value in values.items()
    }
    parts = {
        language: escape(getattr(TEXTS[key], language)).format(
            **{name: _shown(value, language) for name, value in shown.items()}
        )
        for language in LANGUAGES
    }
    return _spans(parts)


def _shown(value: Text | numbers.Count, language: Language) -> str | numbers.Count:
    if isinstance(value, numbers.Count):
        return value
    return numbers.printable(getattr(value, language))


def _both(text: Text) -> Markup:
    return _spans({to: escape(numbers.printable(getattr(text, to))) for to in LANGUAGES})


def _prose(text: Text) -> Markup:
    """Sentences of ours, what stands between backticks as code."""
    parts = {}
    for to in LANGUAGES:
        pieces = str(escape(numbers.printable(getattr(text, to)))).split("`")
        marked = (f"<code>{p}</code>" if place % 2 else p for place, p in enumerate(pieces))
        parts[to] = Markup("").join(Markup(piece) for piece in marked)  # noqa: S704 - escaped
    return _spans(parts)


def _spans(parts: Mapping[Language, Markup]) -> Markup:
    if len(set(parts.values())) == 1:
        return next(iter(parts.values()))
    span = Markup('<span class="t" lang="{}">{}</span>')
    return Markup("").join(span.format(language, part) for language, part in parts.items())
