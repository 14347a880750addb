"""What ``eda`` counted, as plain values for programs."""

from typing import Any

import numpy as np
import pandas as pd

from gorae.eda.distributions import size_summary
from gorae.pipeline.problem import ProblemSummary
from gorae.report.eda_page import EdaPage


def eda_record(page: EdaPage, problem: ProblemSummary) -> dict[str, Any]:
    """Everything that was counted, for programs; texts in English."""
    pictures, leaks, shift, files = page.pictures, page.leaks, page.shift, page.integrity
    assert pictures is not None
    assert files is not None
    assert page.duplicates is not None
    return {
        "competition": page.head.competition,
        "embeddings": page.head.embeddings,
        "parts": {
            part.part: {
                "rows": part.num_rows,
                "images": part.num_images,
                "quarantined": part.num_quarantined,
            }
            for part in page.head.parts
        },
        "files": {
            "read": files.num_files,
            "unreadable": 0 if files.quarantined is None else len(files.quarantined),
            "missing": [] if files.missing is None else _lines(files.missing),
            "unlisted": [] if files.unlisted is None else files.unlisted["path"].tolist(),
        },
        "classes": None if page.classes is None else _lines(page.classes.counts),
        "not_in_test": [] if page.classes is None else list(page.classes.not_in_test),
        "sizes": _lines(size_summary(pictures.sizes.assign(size_bytes=0.0))),
        "formats": None if pictures.formats is None else _lines(pictures.formats),
        "modes": None if pictures.modes is None else _lines(pictures.modes),
        "outliers": pictures.num_outliers,
        "duplicates": _lines(page.duplicates.counts),
        "leaks": None if leaks is None else _lines(leaks.table),
        "subjects": None if leaks is None or leaks.subjects is None else _lines(leaks.subjects),
        "shift": None if shift is None else _lines(shift.aucs),
        "boxes": [
            {
                "kind": each.kind,
                "images": each.num_images,
                "with": each.num_with,
                "outside": each.num_outside,
                "faults": list(each.faults),
            }
            for each in page.boxes
        ],
        "suspects": None if page.suspects is None else page.suspects.num_suspects,
        "problem": problem.to_json(),
        "findings": [
            {
                "severity": finding.severity,
                "section": finding.section,
                "what": finding.what.en,
                "do": finding.do.en if finding.do else None,
                "setting": finding.setting,
                "file": finding.file,
            }
            for finding in page.findings
        ],
        "suggestions": [
            {"key": each.key, "values": dict(each.values), "settings": list(each.settings)}
            for each in page.suggestions
        ],
    }


def _lines(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as plain values; what is not known is null."""
    plain = table.astype(object).where(table.notna(), None)
    return [
        {str(k): v.item() if isinstance(v, np.generic) else v for k, v in line.items()}
        for line in plain.to_dict("records")
    ]
