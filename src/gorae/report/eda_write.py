"""The page on the data to one HTML file that needs nothing beside it."""

from pathlib import Path
from typing import Any

import plotly.offline
from markupsafe import Markup

from gorae.files import write_text
from gorae.report import eda_galleries
from gorae.report.eda_figures import build_eda_charts
from gorae.report.eda_map import map_data
from gorae.report.eda_page import EdaPage
from gorae.report.eda_subjects import subject_place
from gorae.report.eda_suggestions import suggestion_text
from gorae.report.eda_texts import tell
from gorae.report.eda_view import build_eda_view
from gorae.report.html import (
    as_script,
    build_environment,
    figures_of,
    json_for_script,
    own,
    policy_of,
    read_own,
)
from gorae.report.texts import LANGUAGES
from gorae.report.theme import THEMES


def write_eda(path: Path, page: EdaPage) -> None:
    """Write ``page`` as one HTML file: scripts, styles, charts and pictures inside it.

    The same page gives the same bytes. Every name is escaped; no script but the page's own
    can run, since the content security policy lists their hashes.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    write_text(path, render_eda(page))


def render_eda(page: EdaPage) -> str:
    """The HTML of ``page``."""
    scripts = [as_script(plotly.offline.get_plotlyjs()), as_script(read_own("report.js"))]
    if page.map is not None:
        scripts.append(as_script(read_own("eda.js")))
    charts = {language: build_eda_charts(page, language) for language in LANGUAGES}
    data = {
        "themes": {name: {"layout": theme["layout"]} for name, theme in THEMES.items()},
        "charts": {language: figures_of(found) for language, found in charts.items()},
    }
    if page.map is not None:
        data["map"] = map_data(page.map)
    environment = build_environment()
    both: Any = environment.globals["both"]
    prose: Any = environment.globals["prose"]

    def say(key: str, **values: object) -> Markup:
        return Markup(both(tell(key, **values)))  # noqa: S704 - escaped by `both`

    def say_with_code(key: str, **values: object) -> Markup:
        return Markup(prose(tell(key, **values)))  # noqa: S704 - escaped by `prose`

    environment.globals |= {"t": say, "tp": say_with_code}
    return environment.get_template("eda.html").render(
        page=page,
        view=build_eda_view(page),
        galleries=eda_galleries,
        suggestion_text=suggestion_text,
        subject_place=subject_place,
        charts=charts["en"],
        chart_data=json_for_script(data),
        style=own(read_own("report.css") + read_own("eda.css")),
        scripts=[own(script) for script in scripts],
        policy=policy_of(scripts),
    )
