"""The page on the data to one HTML file that needs nothing beside it."""

from pathlib import Path

from gorae.files import write_text
from gorae.report import eda_galleries
from gorae.report.eda_figures import build_eda_charts
from gorae.report.eda_map import map_data
from gorae.report.eda_page import EdaPage
from gorae.report.eda_subjects import subject_place
from gorae.report.eda_suggestions import suggestion_text
from gorae.report.eda_texts import tell
from gorae.report.eda_view import build_eda_view
from gorae.report.html import render_page
from gorae.report.texts import LANGUAGES


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
    values = {
        "page": page,
        "view": build_eda_view(page),
        "galleries": eda_galleries,
        "suggestion_text": suggestion_text,
        "subject_place": subject_place,
    }
    return render_page(
        "eda.html",
        values,
        charts={language: build_eda_charts(page, language) for language in LANGUAGES},
        tell=tell,
        files=("eda.css",) if page.map is None else ("eda.css", "eda.js"),
        data=None if page.map is None else {"map": map_data(page.map)},
    )
