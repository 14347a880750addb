"""A page's data to one HTML file that needs nothing beside it."""

from pathlib import Path

from gorae.files import write_text
from gorae.report.figures import build_charts
from gorae.report.html import render_page
from gorae.report.metric_names import metric_name
from gorae.report.page import ReportPage
from gorae.report.texts import LANGUAGES
from gorae.report.verdict import judge
from gorae.report.view import build_view


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
    charts = {language: build_charts(page, language) for language in LANGUAGES}
    values = {
        "page": page,
        "verdict": judge(page),
        "metric": metric_name(page.headline.metric),
        "view": build_view(page),
    }
    return render_page("report.html", values, charts=charts)
