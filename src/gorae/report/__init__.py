"""A run as one self-contained page: plotly figures from tables, English and Korean.

``page.py`` says what a page holds, ``summaries.py`` computes it from truth and predictions,
``figures.py`` draws it, ``write.py`` puts it into ``report.html``. No torch, no settings, no
folder of a run: the pipeline fills a ``ReportPage`` and names the file.

The page on the data is made the same way: ``eda_page.py`` says what it holds, ``data_findings``
judges
it, ``write_eda`` puts it into ``eda.html``.
"""

from gorae.report.eda_findings import data_findings
from gorae.report.eda_map import picture_sheet
from gorae.report.eda_page import EdaPage
from gorae.report.eda_write import write_eda
from gorae.report.page import ReportPage
from gorae.report.pictures import thumbnail
from gorae.report.summaries import build_summaries
from gorae.report.write import write_report

__all__ = [
    "EdaPage",
    "ReportPage",
    "build_summaries",
    "data_findings",
    "picture_sheet",
    "thumbnail",
    "write_eda",
    "write_report",
]
