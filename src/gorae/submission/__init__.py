"""Predictions to the CSV that is sent, and every check that stands between."""

from gorae.submission.build import build_submission
from gorae.submission.check import check_submission
from gorae.submission.compare import compare_with_oof
from gorae.submission.findings import Finding
from gorae.submission.form import SubmissionFormat, require_form
from gorae.submission.text import read_submission
from gorae.submission.write import submission_bytes, write_submission

__all__ = [
    "Finding",
    "SubmissionFormat",
    "build_submission",
    "check_submission",
    "compare_with_oof",
    "read_submission",
    "require_form",
    "submission_bytes",
    "write_submission",
]
