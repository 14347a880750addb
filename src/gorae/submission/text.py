"""The bytes of a submission: what can be wrong before there is a table."""

import codecs
import os
import stat
from pathlib import Path

import pandas as pd

from gorae.data.csv_text import guess_delimiter, guess_encoding, read_csv_text
from gorae.errors import DataError
from gorae.submission.findings import Finding

# 100,000 rows of 100 probabilities have 130 MB; a gigabyte is no submission.
MAX_BYTES = 500_000_000

# First bytes of what is uploaded in place of a CSV.
CONTENTS = (
    (b"\x1f\x8b", "gzip", "compressed by gzip"),
    (b"PK\x03\x04", "zip", "a zip file or an Excel workbook"),
    (b"PK\x05\x06", "zip", "an empty zip file"),
    (b"\xd0\xcf\x11\xe0", "excel", "an old Excel workbook"),
    (b"PAR1", "parquet", "a Parquet file"),
    (b"\x93NUMPY", "numpy", "a NumPy array"),
    (b"%PDF", "pdf", "a PDF document"),
    (b"\x89PNG", "picture", "a picture"),
    (b"\xff\xd8\xff", "picture", "a picture"),
)
PICKLE_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def read_submission(
    path: Path, *, delimiter: str = ","
) -> tuple[pd.DataFrame | None, list[Finding]]:
    """The table in ``path``, every cell as text, and what was found on the way.

    Nothing is unpacked, guessed or converted. The index is the row number in the file, the
    header being row 1.

    Returns:
        The table, None where an error stands in its way; and the findings.
    """
    data, findings = _read_bytes(path)
    if data is None:
        return None, findings
    findings = _content(data) or _encoding(data) or _characters(data, delimiter)
    if any(finding.level == "error" for finding in findings):
        return None, findings
    try:
        return read_csv_text(path, delimiter=delimiter), findings
    except DataError as error:
        return None, [*findings, _error("table", str(error), "Write the file anew.")]


def _error(code: str, message: str, fix: str) -> Finding:
    return Finding(level="error", code=code, message=message.rstrip("."), fix=fix)


def _read_bytes(path: Path) -> tuple[bytes | None, list[Finding]]:
    try:
        # Not blocking, or a pipe in place of a file would hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as handle:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None, [_error("not_a_file", f"{path} is not a file", "Name a CSV file.")]
            if status.st_size > MAX_BYTES:
                size = f"{path.name} has {status.st_size / 1e6:,.0f} MB"
                fix = f"At most {MAX_BYTES / 1e6:.0f} MB are read; write fewer decimals."
                return None, [_error("too_large", size, fix)]
            return handle.read(), []
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror or error}"
        return None, [_error("unreadable", text, "Check the name and that it may be read.")]


def _content(data: bytes) -> list[Finding]:
    """Files that are something else than text, by their first bytes."""
    if not data.removeprefix(codecs.BOM_UTF8).strip():
        return [_error("empty", "The file is empty", "Write a header and one row per id.")]
    for start, code, meaning in CONTENTS:
        if data.startswith(start):
            return [_error(code, f"The file is {meaning}, not a CSV", "Send plain CSV text.")]
    if data.startswith(PICKLE_PROTOCOLS):
        return [_error("pickle", "The file is a Python pickle, not a CSV", "Use `to_csv`.")]
    beginning = data[:1000].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if beginning.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        fix = "A web page was saved in place of the file; download or write it again."
        return [_error("html", "The file is a web page, not a CSV", fix)]
    return []


def _encoding(data: bytes) -> list[Finding]:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return [_error("utf16", "The text is UTF-16", "Save the file as UTF-8.")]
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        guess = guess_encoding(data, tried="utf-8")
        text = f"Row {row}: the text is not UTF-8" + (f"; it reads as {guess}" if guess else "")
        code = "cp949" if guess == "cp949" else "not_utf8"
        return [_error(code, text, "Save the file as UTF-8.")]
    return []


def _characters(data: bytes, delimiter: str) -> list[Finding]:
    if b"\0" in data:
        row = data.count(b"\n", 0, data.index(b"\0")) + 1
        text = f"Row {row}: the file holds {data.count(bytes(1))} NUL characters"
        return [_error("nul", text, "Write the file anew as plain text.")]
    if b"\r" in data and b"\n" not in data:
        fix = "End lines with a line feed (`\\n`)."
        return [_error("line_ends", "Lines end with a carriage return alone", fix)]
    header = data.split(b"\n", 1)[0]
    usual = guess_delimiter(header.decode())
    if delimiter not in header.decode() and usual in header.decode():
        text = f"The fields are separated by {usual!r}, not by {delimiter!r}"
        return [_error("delimiter", text, f"Write the file with {delimiter!r}.")]
    found = []
    if data.startswith(codecs.BOM_UTF8):
        fix = "Some organisers then do not find the first column; save as UTF-8 without BOM."
        text = "The file begins with a byte order mark"
        found.append(Finding(level="warning", code="bom", message=text, fix=fix))
    if header.endswith(b"\r"):
        fix = "They are read as usual ones; `\\n` alone is safest."
        text = "Lines end as on Windows (CRLF)"
        found.append(Finding(level="warning", code="crlf", message=text, fix=fix))
    return found
