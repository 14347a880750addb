"""CSV files as text: every cell as written, every row of the right width, or a refusal."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.errors import ConfigError, DataError, list_problems

DELIMITERS = (",", ";", "\t")

# A line beyond this is a broken quote or no table at all.
MAX_LINE_BYTES = 1_000_000

# Encodings that are tried, in this order, to name one in the message; never to read.
GUESSED_ENCODINGS = ("cp949", "shift_jis", "cp1252")


def read_csv_text(path: Path, *, encoding: str = "utf-8", delimiter: str = ",") -> pd.DataFrame:
    """The table in ``path``, every cell as text exactly as written.

    ``00123``, ``1e5`` and ``NA`` stay what they are. The index is the row number in the file as
    a spreadsheet counts it: the header is row 1, the first line of data row 2. Empty lines are
    left out. A column without a name is called ``column_N``.

    Args:
        path: The file.
        encoding: Text encoding; a UTF-8 byte order mark is accepted and dropped.
        delimiter: One character between fields; quotes are as in RFC 4180.

    Raises:
        DataError: The text is in another encoding, holds NUL bytes or a line of more than
            1 MB, the header has a name twice, rows are ragged, or there are no rows.
        ConfigError: The encoding is unknown.
    """
    data = read_bytes(path)
    text = decode_text(data, encoding=encoding, name=path.name)
    del data
    _refuse_odd_text(text, path.name)
    body = _read_plain(text, delimiter, path.name) if '"' not in text else None
    if body is None:
        body = _read_quoted(text, delimiter, path.name)
    return body


def read_bytes(path: Path) -> bytes:
    """The bytes of a table.

    Raises:
        DataError: There is no such file, or it cannot be read.
    """
    if path.exists() and not path.is_file():
        # A pipe would wait for ever for someone to write.
        raise DataError(f"Cannot read {path}: it is a folder or a device, not a file.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"Cannot read {path}: {error.strerror or error}. Check its name in "
            "competition.toml and that it may be read."
        ) from error


def decode_text(data: bytes, *, encoding: str, name: str) -> str:
    """``data`` as text; another encoding is named with the option that reads it.

    Raises:
        DataError: The bytes are not text in ``encoding``.
        ConfigError: The encoding is unknown.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        if not encoding.lower().replace("_", "-").startswith("utf-16"):
            raise DataError(
                f"{name} is UTF-16 text, not {encoding}: pass `--encoding utf-16`, or save the "
                "file as UTF-8."
            )
        encoding = "utf-16"
    elif data.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    try:
        return data.decode(encoding)
    except LookupError as error:
        raise ConfigError(
            f"Encoding {encoding!r} is unknown. Known are utf-8, cp949 (Korean Windows), "
            "utf-16, shift_jis, cp1252 and Python's others."
        ) from error
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        guess = guess_encoding(data, tried=encoding)
        advice = (
            f"it reads as {guess}: pass `--encoding {guess}`, or save the file as UTF-8"
            if guess
            else "save the file as UTF-8"
        )
        raise DataError(
            f"{name}, row {row}: the text is not {encoding.removesuffix('-sig')}; {advice}."
        ) from error


def guess_encoding(data: bytes, *, tried: str) -> str | None:
    """The first usual encoding that reads all of ``data``, for a message; None if none does."""
    for candidate in GUESSED_ENCODINGS:
        if candidate != tried and b"\0" not in data:
            try:
                data.decode(candidate)
            except UnicodeDecodeError:
                continue
            return candidate
    return None


def guess_delimiter(text: str) -> str:
    """The delimiter that gives the header of ``text`` the most fields; comma on a tie."""
    header = text.removeprefix("\ufeff").lstrip("\r\n").split("\n", 1)[0]
    return max(DELIMITERS, key=header.count)


def _refuse_odd_text(text: str, name: str) -> None:
    if not text.strip():
        raise DataError(f"{name} is empty: it needs a header and at least one row.")
    if "\0" in text:
        row = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{name}, row {row}: there are {text.count(chr(0))} NUL characters; this is not "
            "plain text. Export the table again as UTF-8 CSV."
        )


def _refuse_long(lengths: NDArray[np.int64], name: str) -> None:
    long = np.flatnonzero(lengths > MAX_LINE_BYTES)
    if len(long):
        raise DataError(
            f"{name}, row {long[0] + 1}: the line has {lengths[long[0]] / 1e6:.1f} MB, at most "
            f"{MAX_LINE_BYTES / 1e6:.0f} MB are read. Look for a quote that is never closed."
        )


def _read_plain(text: str, delimiter: str, name: str) -> pd.DataFrame | None:
    """Text without quotes, checked and read by column; None where it needs the csv module."""
    if text.count("\r") != text.count("\r\n"):
        return None
    data = text.replace("\r\n", "\n").rstrip("\n").encode() + b"\n"
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw == ord("\n"))
    lengths = np.diff(ends, prepend=-1) - 1
    _refuse_long(lengths, name)
    separators = np.flatnonzero(raw == ord(delimiter))
    widths = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
    if widths[0] == 1 or (lengths == 0).any():
        return None
    header = data[: ends[0]].decode().split(delimiter)
    wrong = np.flatnonzero(widths != widths[0])
    ragged = [(int(line) + 1, int(widths[line])) for line in wrong]
    columns = _checked_header(header, ragged, num_rows=len(ends) - 1, name=name)
    frame = pd.read_csv(
        io.BytesIO(data[ends[0] + 1 :]),
        sep=delimiter,
        names=range(len(columns)),
        dtype=str,
        keep_default_na=False,
        na_filter=False,
        quoting=csv.QUOTE_NONE,
        skip_blank_lines=False,
        encoding="utf-8",
    )
    frame.columns = pd.Index(columns, dtype=object)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    return frame


def _read_quoted(text: str, delimiter: str, name: str) -> pd.DataFrame:
    """Any CSV text by Python's csv module."""
    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    try:
        rows.extend(reader)
    except csv.Error as error:
        raise DataError(
            f"{name}, row {len(rows) + 1}: the row cannot be read ({error}). Look for a quote "
            "that is never closed or not doubled inside a quoted field."
        ) from error
    numbers = [number for number, row in enumerate(rows, start=1) if row]
    filled = [row for row in rows if row]
    header, body, numbers = filled[0], filled[1:], numbers[1:]
    ragged = [
        (number, len(row))
        for number, row in zip(numbers, body, strict=True)
        if len(row) != len(header)
    ]
    columns = _checked_header(header, ragged, num_rows=len(body), name=name)
    index = pd.Index(numbers, name="row")
    return pd.DataFrame(body, columns=pd.Index(columns, dtype=object), index=index, dtype="str")


def _checked_header(
    header: list[str], ragged: list[tuple[int, int]], *, num_rows: int, name: str
) -> list[str]:
    """The column names; every fault of the table's shape is raised at once."""
    columns = [column or f"column_{place}" for place, column in enumerate(header, start=1)]
    problems = [
        f"row 1: column {column!r} stands {times} times; names must differ"
        for column, times in Counter(columns).items()
        if times > 1
    ]
    problems += [
        f"row {number}: {width} fields, the header has {len(header)}"
        for number, width in ragged
    ]
    if problems:
        counted = f"{len(ragged)} of {num_rows} rows have another width than the header"
        raise DataError(
            f"{name} cannot be read as a table ({counted if ragged else 'header'}):\n"
            f"{list_problems(problems)}\nCorrect the file, or set `delimiter` if the fields "
            "are not separated as expected."
        )
    if num_rows == 0:
        raise DataError(f"{name} has a header only: it needs at least one row of data.")
    return columns


def at_rows(places: Sequence[int | str], *, shown: int = 20) -> str:
    """Where something is, for a message: row numbers or file names, the first 20 and a count.

    >>> at_rows([4, 9])
    'rows 4, 9'
    """
    named = ", ".join(str(place) for place in places[:shown])
    if len(places) > shown:
        named += f" ... ({len(places):,} in all)"
    if not places or isinstance(places[0], str):
        return named
    return f"row {named}" if len(places) == 1 else f"rows {named}"
