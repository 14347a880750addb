"""A run as one self-contained page: plotly figures from tables, English and Korean.

``page.py`` says what a page holds, ``summaries.py`` computes it from truth and predictions,
``figures.py`` draws it, ``write.py`` puts it into ``report.html``. No torch, no settings, no
folder of a run: the pipeline fills a ``ReportPage`` and names the file.
"""

from gorae.report.page import ReportPage
from gorae.report.pictures import thumbnail
from gorae.report.summaries import build_summaries
from gorae.report.write import write_report

__all__ = ["ReportPage", "build_summaries", "thumbnail", "write_report"]
