"""Which part of a path, or which column, looks like a subject: a person, patient or video."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.columns import GROUP_NAMES, plain
from gorae.data.inventory import ROLE_WORDS, words
from gorae.data.listing import nfc, split_extension
from gorae.data.sources import META_PREFIX

Ints = NDArray[np.int64]

# Fewer values are a kind (sex, site, class), not subjects, unless they are called so.
FEWEST_VALUES, FEWEST_NAMED_VALUES = 10, 3
# Share of the pictures whose value another picture has too.
SHARED_SHARE = 0.5
# A value with a larger share of the pictures is a kind.
LARGEST_SHARE = 0.2
# Values without a digit and with more pictures each are kinds (breeds), not names of people.
MOST_PICTURES_OF_WORD = 50
# Names of one make that are looked into: at least this share of all.
FEWEST_ALIKE = 0.3
# Columns whose equal values stand together: runs of equal values per value.
MOST_RUNS = 1.5

_SUBJECT_WORDS = frozenset((
    "patient", "pat", "person", "subject", "subj", "sub", "individual", "user", "case", "study",
    "series", "video", "vid", "clip", "animal", "lesion", "participant", "volunteer", "pid",
    "sid", "환자", "사람", "개체", "피험자", "대상자", "영상", "동영상",
))  # fmt: skip
_TOKEN, _MARK = r"[^-_. /]+", r"[-_. ]+"
_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
_DATE = re.compile(r"(19|20)\d\d[-_. ]?(0[1-9]|1[0-2])[-_. ]?(0[1-9]|[12]\d|3[01])")
_DECIMAL = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?")


@dataclass(frozen=True)
class SubjectProposal:
    """A way to tell subjects, for a person to accept: one of the two settings is filled."""

    group_pattern: str | None
    """Setting of the source: a regular expression whose group ``group`` is the subject."""
    group_column: str | None
    """Setting of the source: a column of the table."""
    what: str
    """Where the subject stands, in words."""
    groups: Ints
    """Subject of each picture, (N,), from 0."""
    num_values: int
    largest: int
    """Pictures of the value with most."""
    example: str
    """A path, and its subject."""
    evidence: str
    """Counts and reasons in one sentence."""


@dataclass(frozen=True)
class _Candidate:
    what: str
    values: tuple[str, ...]
    """Value of each picture (N,)."""
    pattern: str | None = None
    column: str | None = None


def subject_columns(
    paths: Sequence[str], metadata: pd.DataFrame, *, labels: Sequence[Any] | None = None
) -> tuple[SubjectProposal, ...]:
    """Parts of the paths and columns that look like subjects, the most likely first.

    Proposed is what repeats as subjects do: many values, several pictures each, none with a
    large part of all, and not the label itself. Counters, dates, random names and numbers such
    as ages are not.

    Args:
        paths: Path of each picture below ``images``, with ``/`` and extension.
        metadata: A line per picture; names may carry the prefix ``meta.``.
        labels: Label of each picture; absent: values that are the label cannot be told.
    """
    names = [nfc(path) for path in paths]
    kinds = None if labels is None else pd.Series([str(label) for label in labels])
    candidates = [
        *_column_candidates(metadata),
        *_folder_candidates(names),
        *_name_candidates(names),
    ]
    proposals: list[SubjectProposal] = []
    for candidate in candidates:
        found = _judged(candidate, names, kinds)
        if found is not None and not any(
            np.array_equal(found.groups, earlier.groups) for earlier in proposals
        ):
            proposals.append(found)
    return tuple(proposals)


def _column_candidates(metadata: pd.DataFrame) -> list[_Candidate]:
    """Columns called like subjects first, then those whose values look like names of some."""
    named, others = [], []
    for place, name in enumerate(map(str, metadata.columns)):
        column = metadata.iloc[:, place]
        values = column.where(column.notna(), "").astype("str").str.strip()
        bare = name.removeprefix(META_PREFIX)
        if (values == "").any():
            continue
        candidate = _Candidate(f"column {bare}", tuple(values), column=bare)
        if _is_called_subject(bare):
            named.append(candidate)
        elif _is_identifier(values):
            others.append(candidate)
    return named + others


def _is_called_subject(name: str) -> bool:
    return plain(name) in GROUP_NAMES or bool(_SUBJECT_WORDS & words(name))


def _is_identifier(values: "pd.Series[str]") -> bool:
    """Whether values are names rather than measurements, dates or kinds."""
    distinct = values.drop_duplicates()
    if distinct.str.fullmatch(_DECIMAL.pattern).any() or distinct.str.match(_DATE).mean() > 0.5:
        return False
    has_digit = distinct.str.contains(r"\d").mean() > 0.9
    has_letter = distinct.str.contains(r"[^\W\d_]").mean() > 0.9
    is_long = (distinct.str.len() >= 5).mean() > 0.9
    num_runs = int((values != values.shift()).sum())
    return bool(has_digit and (has_letter or is_long)) or (
        num_runs <= MOST_RUNS * len(distinct) and num_runs < len(values) / 1.5
    )


def _folder_candidates(names: Sequence[str]) -> list[_Candidate]:
    """Each level of folders: with those above it, or alone where it recurs below several."""
    depth = min((name.count("/") for name in names), default=0)
    found = []
    for level in range(depth):
        what = f"folder {level + 1} of the path"
        whole = _by_pattern(names, f"^(?P<group>[^/]+{_times('/[^/]+', level)})/", what)
        own = _by_pattern(names, f"^{_times('[^/]+/', level)}(?P<group>[^/]+)/", what)
        found += [own, whole] if _recurs(own, whole) else [whole]
    return found


def _name_candidates(names: Sequence[str]) -> list[_Candidate]:
    """Leading parts of file names, and single parts that recur after several others."""
    split = [split_extension(name.rpartition("/")[2]) for name in names]
    stems = [stem for stem, _ in split]
    if sum(_UUID.search(stem) is not None for stem in stems) * 2 > len(stems):
        return []
    end = r"\.[^./]+$" if all(extension for _, extension in split) else "$"
    sizes = Counter(len(re.findall(_TOKEN, stem)) for stem in stems)
    alike = sorted(size for size, many in sizes.items() if many >= FEWEST_ALIKE * len(names))
    found: list[_Candidate] = []
    for size in (size for size in alike if size > 1):
        # Names of another make are subjects of their own.
        rest = "" if len(sizes) == 1 else "|[^/]+$"
        for place in range(size):
            what = f"part {place + 1} of {size} of the file name"
            after = f"(?={_times(_MARK + _TOKEN, size - 1 - place)}{end})"
            leading = f"{_TOKEN}{_times(_MARK + _TOKEN, place)}{after}"
            whole = _by_pattern(names, f"^(?:.*/)?(?P<group>{leading}{rest})", what)
            before = f"(?:{_times(_TOKEN + _MARK, place)}(?={_TOKEN}{after}))" + "?" * bool(
                rest
            )
            own = _by_pattern(names, f"^(?:.*/)?{before}(?P<group>{_TOKEN}{after}{rest})", what)
            found += [own] if place > 0 and _recurs(own, whole) else []
            found += [whole] if place < size - 1 else []
    return found or _digit_candidates(names, stems, end=end)


def _digit_candidates(
    names: Sequence[str], stems: Sequence[str], *, end: str
) -> list[_Candidate]:
    """Leading parts of names without marks, such as ``S01T02``: up to each run of digits."""
    makes = pd.Series([re.sub(r"\d+", "#", stem) for stem in stems], dtype="str").value_counts()
    if not len(makes) or makes.iloc[0] < FEWEST_ALIKE * len(names):
        return []
    pieces = [re.escape(piece) for piece in str(makes.index[0]).split("#")]
    rest = "" if len(makes) == 1 else "|[^/]+$"
    found = []
    for place in range(1, len(pieces) - 1):
        leading = r"\d+".join(pieces[:place]) + r"\d+"
        after = "(?=" + r"\d+".join(pieces[place:]) + f"{end})"
        what = f"number {place} of {len(pieces) - 1} in the file name"
        found.append(_by_pattern(names, f"^(?:.*/)?(?P<group>{leading}{after}{rest})", what))
    return found


def _times(pattern: str, count: int) -> str:
    """``pattern`` so many times in a row, as short as it can be written."""
    return pattern * count if count < 2 else f"(?:{pattern}){{{count}}}"


def _by_pattern(names: Sequence[str], pattern: str, what: str) -> _Candidate:
    """What the pattern finds; read with it, so that the setting gives the same subjects."""
    compiled = re.compile(pattern)
    found = [compiled.search(name) for name in names]
    values = tuple("" if match is None else match.group("group") for match in found)
    return _Candidate(what, values, pattern=pattern)


def _recurs(own: _Candidate, whole: _Candidate) -> bool:
    """Whether one part names a subject by itself: with a letter, below several others."""
    distinct = set(own.values)
    named = sum(re.search(r"[^\W\d_]", value) is not None for value in distinct)
    return len(distinct) < len(set(whole.values)) and named > 0.9 * len(distinct)


def _judged(
    candidate: _Candidate, names: Sequence[str], kinds: "pd.Series[str] | None"
) -> SubjectProposal | None:
    """The candidate as a proposal, or None where its values are no subjects."""
    values = pd.Series(candidate.values, dtype="str")
    codes, distinct = pd.factorize(values)
    counts = np.bincount(codes)
    is_named = candidate.column is not None and _is_called_subject(candidate.column)
    is_named |= candidate.pattern is not None and _are_called_subject(distinct)
    shared = float(counts[counts > 1].sum() / len(values)) if len(values) else 0.0
    if (values == "").any() or len(distinct) == len(values):
        return None
    if len(distinct) < (FEWEST_NAMED_VALUES if is_named else FEWEST_VALUES):
        return None
    # By chance some numbers meet; what is called a subject may well be seen once mostly.
    if not is_named and (shared < SHARED_SHARE or counts.max() > LARGEST_SHARE * len(values)):
        return None
    if _is_label(codes, kinds) or _are_dates(distinct):
        return None
    if not is_named and _are_kinds(distinct, len(values) / len(distinct)):
        return None
    first = int(np.flatnonzero(counts[codes] > 1)[0])
    return SubjectProposal(
        group_pattern=candidate.pattern,
        group_column=candidate.column,
        what=candidate.what,
        groups=codes.astype(np.int64),
        num_values=len(distinct),
        largest=int(counts.max()),
        example=f"{names[first]}: {candidate.values[first]}",
        evidence=_evidence(candidate, codes, kinds),
    )


def _are_called_subject(distinct: "pd.Index[str]") -> bool:
    """Whether most values say it: ``patient_012``, ``person7``."""
    called = [bool(_SUBJECT_WORDS & words(value.rpartition("/")[2])) for value in distinct]
    return sum(called) * 2 > len(called)


def _is_label(codes: NDArray[np.intp], kinds: "pd.Series[str] | None") -> bool:
    """Whether each value stands for one label, and there are no more values than labels."""
    if kinds is None:
        return False
    labels = pd.factorize(kinds)[0]
    pairs = len(set(zip(codes.tolist(), labels.tolist(), strict=True)))
    num_values = int(codes.max()) + 1
    return pairs == num_values and num_values <= int(labels.max()) + 1


def _are_dates(distinct: "pd.Index[str]") -> bool:
    return sum(_DATE.search(value) is not None for value in distinct) * 2 > len(distinct)


def _are_kinds(distinct: "pd.Index[str]", num_pictures: float) -> bool:
    """Whether values are words with many pictures each (breeds), or parts of train and test."""
    roles = {word for role in ROLE_WORDS.values() for word in role}
    if all(words(value) & roles for value in distinct):
        return True
    with_digit = sum(re.search(r"\d", value) is not None for value in distinct)
    return with_digit * 2 < len(distinct) and num_pictures > MOST_PICTURES_OF_WORD


def _evidence(
    candidate: _Candidate, codes: NDArray[np.intp], kinds: "pd.Series[str] | None"
) -> str:
    counts = np.bincount(codes)
    told = [
        f"{candidate.what}: {len(counts):,} values, {np.median(counts):g} pictures each "
        f"(median; largest {counts.max():,})"
    ]
    num_runs = 1 + int((np.diff(codes) != 0).sum())
    if num_runs <= MOST_RUNS * len(counts):
        told.append("equal values stand together")
    if kinds is not None:
        per_value = kinds.groupby(codes).nunique()
        share = float((per_value == 1).mean())
        told.append(f"{share:.0%} of the values have one label only")
    return "; ".join(told)
