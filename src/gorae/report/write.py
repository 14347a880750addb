"""A page's data to one HTML file that needs nothing beside it."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import plotly.offline
from markupsafe import Markup, escape

from gorae.files import write_text
from gorae.report import numbers
from gorae.report.drawing import Chart
from gorae.report.figures import build_charts
from gorae.report.page import ReportPage
from gorae.report.pictures import data_uri
from gorae.report.texts import LANGUAGES, TEXTS, Language, Text, metric_name
from gorae.report.theme import THEMES
from gorae.report.verdict import judge
from gorae.report.view import build_view

PACKAGE_FOLDER = Path(__file__).parent
# Long tables belong into a file; a page shows the beginning and says how much is left.
MAX_TABLE_ROWS = 50


def write_report(path: Path, page: ReportPage) -> None:
    """Write ``page`` as one HTML file: scripts, styles, charts and pictures inside it.

    The same page gives the same bytes. Every name is escaped; no script but the page's own
    can run, since the content security policy lists their hashes.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    write_text(path, render_report(page))


def render_report(page: ReportPage) -> str:
    """The HTML of ``page``."""
    scripts = [_script(plotly.offline.get_plotlyjs()), _script(_read("report.js"))]
    charts = {language: build_charts(page, language) for language in LANGUAGES}
    template = _environment().get_template("report.html")
    return template.render(
        page=page,
        verdict=judge(page),
        metric=metric_name(page.headline.metric),
        view=build_view(page),
        charts=charts["en"],
        chart_data=_json_for_script(
            {
                "themes": {name: {"layout": theme["layout"]} for name, theme in THEMES.items()},
                "charts": {language: _figures(found) for language, found in charts.items()},
            }
        ),
        style=_own(_read("report.css")),
        scripts=[_own(script) for script in scripts],
        policy=_policy(scripts),
    )


def _read(name: str) -> str:
    return (PACKAGE_FOLDER / name).read_text("utf-8")


def _own(text: str) -> Markup:
    """A file of this package or of plotly, put in as it is."""
    return Markup(text)  # noqa: S704 - nothing of a competition is in it


def _script(text: str) -> str:
    # Browsers hash what they parsed, and parsing turns every line end into \n.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    assert "</script" not in text.lower()
    return text


def _policy(scripts: list[str]) -> str:
    hashes = [hashlib.sha256(script.encode("utf-8")).digest() for script in scripts]
    sources = " ".join(f"'sha256-{base64.b64encode(h).decode('ascii')}'" for h in hashes)
    # Plotly sets style attributes; a style can reach nothing, as no address may be loaded.
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _json_for_script(value: Any) -> Markup:
    """JSON that is safe inside a script element, whatever the names in it hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 - no sign with a meaning in HTML is left


def _figures(charts: Mapping[str, Chart]) -> dict[str, Any]:
    return {name: chart.figure for name, chart in charts.items()}


def _environment() -> jinja2.Environment:
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
        "percent": numbers.percent,
        "count": numbers.count,
        "duration": numbers.duration,
        "data_uri": data_uri,
    }
    environment.globals |= {"t": _both_languages, "both": _both, "max_rows": MAX_TABLE_ROWS}
    return environment


def _both_languages(key: str, **values: object) -> Markup:
    """The text of ``key`` in all languages, values escaped; the page shows one of them."""
    shown = {
        name: Text(*value) if isinstance(value, Text) else Text(str(value), str(value))
        for name, value in values.items()
    }
    parts = {
        language: escape(getattr(TEXTS[key], language)).format(
            **{name: numbers.printable(getattr(v, language)) for name, v in shown.items()}
        )
        for language in LANGUAGES
    }
    return _spans(parts)


def _both(text: Text) -> Markup:
    return _spans({to: escape(numbers.printable(getattr(text, to))) for to in LANGUAGES})


def _spans(parts: Mapping[Language, Markup]) -> Markup:
    if len(set(parts.values())) == 1:
        return next(iter(parts.values()))
    span = Markup('<span class="t" lang="{}">{}</span>')
    return Markup("").join(span.format(language, part) for language, part in parts.items())
