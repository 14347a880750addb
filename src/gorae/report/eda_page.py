"""What the page on the data holds: one frozen dataclass per section, absent where it is None.

A *label* is always text as it is shown (class name, number, or several names joined by ", ");
a *part* is "train", "holdout", "extra" or "test".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.sources import Task
from gorae.eda.distributions import Distribution
from gorae.eda.suggest import Suggestion
from gorae.report.page import ClassSamples, Part, PartCount, Picture, Remedy
from gorae.report.texts import Text

Severity = Literal["stops", "look", "fine"]
Section = Literal[
    "problem",
    "classes",
    "pictures",
    "outliers",
    "map",
    "integrity",
    "duplicates",
    "leaks",
    "shift",
    "suspects",
    "metadata",
    "boxes",
    "suggestions",
]
OutlierKind = Literal[
    "dark", "bright", "low_contrast", "blurry", "one_colour", "small", "large", "tall", "wide"
]
DuplicateKind = Literal["bytes", "pixels", "near"]


@dataclass(frozen=True, kw_only=True)
class EdaHead:
    """What was looked at; always there."""

    competition: str
    """Name of the competition."""
    task: Task
    """What a label is."""
    parts: tuple[PartCount, ...]
    """Rows and pictures of each part, train first."""
    num_classes: int | None = None
    """Classes; None for a regression."""
    embeddings: str | None = None
    """What made the features of near-duplicates, shift and map: "mobilenetv2_100, 1,280
    features"; None where there were none."""
    created: str | None = None
    """When the page was made, as it is to be shown."""
    elapsed_s: float | None = None
    """Wall time of the step."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that the data say, and what to do about it."""

    severity: Severity
    """``stops``: a score would lie or the run would fail; ``look``: a person should decide;
    ``fine``: checked, and nothing is wrong."""
    section: Section
    """Where the page shows it."""
    what: Text
    """One sentence with its numbers; what stands between backticks is shown as code."""
    do: Text | None = None
    """What to do now, one sentence; backticks as above."""
    setting: str | None = None
    """What to write, as it is written: ``split.group = "patient_id"``."""
    file: str | None = None
    """Where to write ``setting``: ``competition.toml``, ``recipes/base.toml``, ..."""


@dataclass(frozen=True, kw_only=True)
class ProblemAnswer:
    """A question on the problem, and what is known."""

    key: str
    """Name of the setting under ``[problem]``: ``day_and_night``."""
    question: Text
    value: str | None
    """The answer as it stands in competition.toml; None: not answered yet."""
    guess: str | None = None
    """What the data suggest, as it would be written; shown where there is no answer."""
    reason: Text | None = None
    """What the guess rests on."""


@dataclass(frozen=True, kw_only=True)
class ProblemForm:
    """What is to be solved, as it stands under ``[problem]`` of competition.toml."""

    answers: tuple[ProblemAnswer, ...]
    """Problem, input, output and use first, then the questions that decide augmentations."""
    augmentations: tuple[Remedy, ...] = ()
    """Settings of a recipe that follow from the answers, each with its reason."""


@dataclass(frozen=True, kw_only=True)
class ClassesSummary:
    """How much of what is there."""

    counts: pd.DataFrame
    """Column ``class``, then a count of rows per part that has labels; in class order."""
    samples: tuple[ClassSamples, ...] = ()
    """A few pictures per class; those of the test set under a name of their own."""
    not_in_test: tuple[str, ...] = ()
    """Classes that a quick classifier gives to no test picture, though some are expected."""
    never_seen: tuple[str, ...] = ()
    """Classes that answers may hold and that no train row has."""


@dataclass(frozen=True, kw_only=True)
class Channels:
    """How often each level of grey and of each colour occurs in the pictures of a class."""

    names: tuple[str, ...]
    """Class names; the first line is of all pictures and its name is not shown."""
    shares: NDArray[np.float64]
    """Share of pixels per bin, (names, 4, bins): grey, red, green, blue; NaN where none is."""
    mean: NDArray[np.float64]
    """Mean of red, green and blue, 0 to 1, (names, 3)."""
    std: NDArray[np.float64]
    """Standard deviation over all pixels, 0 to 1, (names, 3)."""
    pictures: tuple[Picture | None, ...] = ()
    """The mean picture of each name; None or absent where there is none."""


@dataclass(frozen=True, kw_only=True)
class Outlier:
    """A picture that is unlike the others in one measure."""

    kind: OutlierKind
    picture: Picture
    value: float
    """Measured: grey level, share, detail, pixels or width / height, by ``kind``."""
    limit: float
    """Limit that it crosses."""
    part: Part
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class PicturesSummary:
    """What the pictures are like."""

    sizes: pd.DataFrame
    """Columns ``width_px``, ``height_px``, ``part``: one line per readable picture."""
    formats: pd.DataFrame | None = None
    """Columns ``name`` ("JPEG"), ``count``: file formats."""
    modes: pd.DataFrame | None = None
    """Columns ``name`` ("RGB", "L", "CMYK"), ``count``: colour modes as stored."""
    measures: pd.DataFrame | None = None
    """One line per readable picture: ``part``, ``class`` (label, or None) and any of
    ``brightness``, ``contrast``, ``sharpness`` (numbers)."""
    limits: Mapping[str, tuple[float | None, float | None]] | None = None
    """Lower and upper limit of a measure, beyond which a picture is an outlier."""
    channels: Channels | None = None
    outliers: tuple[Outlier, ...] = ()
    """Most unusual first within a kind."""
    num_outliers: int | None = None
    """How many there are in all; None: as many as are shown."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Many equally small pictures in one: the page carries it once."""

    data: bytes
    """JPEG; picture ``i`` lies in row ``i // columns`` and column ``i % columns``."""
    side_px: int
    """Width and height of each picture."""
    columns: int


@dataclass(frozen=True, kw_only=True)
class EmbeddingMap:
    """Pictures as points: near each other where the network sees them alike."""

    points: pd.DataFrame
    """``x``, ``y``, ``part``, ``class`` (label, or None), ``name`` (file name) and, where
    known, ``aspect`` (width / height): one line per point, at most 2,000."""
    sheet: Sheet | None = None
    """Pictures of the points, in their order; see ``picture_sheet``."""
    method: str
    """How it was made: ``t-SNE, perplexity 40``."""
    num_images: int
    """Pictures from which the points were drawn."""


@dataclass(frozen=True, kw_only=True)
class EigenPictures:
    """Main directions in which the pictures differ from their mean."""

    mean: Picture
    components: tuple[Picture, ...]
    shares: tuple[float, ...]
    """Share of the variance of each component, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class IntegritySummary:
    """What is wrong with files and lists."""

    num_files: int
    """Files that were read."""
    quarantined: pd.DataFrame | None = None
    """Columns ``image_id``, ``reason``, ``detail``: pictures that cannot be read."""
    unlisted: pd.DataFrame | None = None
    """Column ``path``: pictures on disk that belong to no line."""
    missing: pd.DataFrame | None = None
    """Columns ``picture`` (as it is named) and ``source``: listed, but not on disk."""
    notes: tuple[str, ...] = ()
    """Further sentences, as the scan wrote them."""


@dataclass(frozen=True, kw_only=True)
class PicturePair:
    """Two pictures that are the same, or nearly."""

    first: Picture
    second: Picture
    kind: DuplicateKind
    similarity: float
    """0 to 1."""
    parts: tuple[Part, Part]
    labels: tuple[str | None, str | None] = (None, None)
    """Both given and different: a conflict, shown first."""
    is_flipped: bool = False
    """One is the mirror image of the other."""
    found_by: str | None = None
    """``hash`` or ``features``."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A set of look-alikes that is too large to be joined without asking."""

    num_images: int
    """Pictures of the largest set."""
    share: float
    """Its share of all pictures."""
    limit: float
    """The share above which it is not joined: 1 / (2 x folds)."""
    thresholds: pd.DataFrame
    """As of ``thresholds_offered``: columns ``threshold``, ``num_sets``, ``num_joined`` and
    ``largest``."""
    weakest: tuple[PicturePair, ...] = ()
    """The links of lowest similarity, which hold it together."""
    columns: tuple[str, ...] = ()
    """Group columns that may stand for the chain instead."""


@dataclass(frozen=True, kw_only=True)
class DuplicatesSummary:
    """The same picture more than once."""

    counts: pd.DataFrame
    """Columns ``where`` ("train", "train_test", "test"), ``exact``, ``near``, ``conflicts``:
    pairs, and those among them whose labels differ."""
    pairs: tuple[PicturePair, ...] = ()
    """The pairs that are shown; the page puts conflicts first, then train-test."""
    set_sizes: pd.DataFrame | None = None
    """Columns ``size`` (pictures of a set), ``sets`` (how many such sets)."""
    chain: Chain | None = None


@dataclass(frozen=True, kw_only=True)
class LeaksSummary:
    """Whether anything but the pixels knows the label."""

    table: pd.DataFrame
    """As of ``metadata_leaks``: ``column``, ``kind`` ("artefact", "metadata", "content" or
    "order"), ``measure`` ("AUC" or "rank correlation"), ``score``, ``low``, ``high``,
    ``is_reported``."""
    subjects: pd.DataFrame | None = None
    """Columns ``what`` (where the subject stands, in words), ``setting`` (as it is written),
    ``groups`` (number), ``largest`` (pictures of one), ``example``; most likely first."""


@dataclass(frozen=True, kw_only=True)
class ScoredPicture:
    """A picture and one number on it."""

    picture: Picture
    score: float
    part: Part
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class ShiftSummary:
    """Whether train and test can be told apart."""

    aucs: pd.DataFrame
    """Columns ``name`` ("embeddings" or "metadata"), ``auc``, ``low``, ``high`` (its 95 %
    interval) and ``is_shifted`` (bool: more than chance)."""
    test_like: tuple[ScoredPicture, ...] = ()
    """Train pictures most like the test set; ``score``: share of pictures less like it."""
    train_like: tuple[ScoredPicture, ...] = ()
    """Train pictures least like the test set."""
    columns: pd.DataFrame | None = None
    """Columns ``name``, ``share``: what the classifier on metadata used, shares of 1."""


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A picture whose label looks wrong."""

    picture: Picture
    given: str
    suggested: str
    score: float
    """0 to 1; the higher, the more suspect."""


@dataclass(frozen=True, kw_only=True)
class SuspectsSummary:
    """Labels to look at, most suspect first."""

    suspects: tuple[Suspect, ...]
    num_suspects: int
    """How many there are in all."""
    num_rows: int
    """Rows that were judged."""
    run: str | None = None
    """Whose out-of-fold probabilities were used."""
    labels_path: str = "labels.csv"
    """The list for review, as it was written."""


@dataclass(frozen=True, kw_only=True)
class MetadataSummary:
    """The columns that stand beside the pictures."""

    distributions: tuple[Distribution, ...] = ()
    groups: tuple[str, ...] = ()
    """Names of the lines of their counts: classes; empty where there is one line."""
    record: pd.DataFrame | None = None
    """As of ``clean_metadata``: ``column``, ``kind``, ``action``, ``count``, ``example``."""


@dataclass(frozen=True, kw_only=True)
class BoxedPicture:
    """A picture with boxes on it."""

    picture: Picture
    size_px: tuple[int, int]
    """Width and height of the picture in which the boxes are measured."""
    boxes: tuple[tuple[float, float, float, float], ...]
    """(left, top, right, bottom) in those pixels."""
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class BoxesSummary:
    """Where the subject is: given boxes, or faces that were found."""

    kind: Literal["boxes", "faces"]
    pictures: tuple[BoxedPicture, ...]
    num_images: int
    """Pictures that were looked at."""
    num_with: int
    """Those with a box."""
    num_outside: int = 0
    """Boxes that reach outside their picture."""
    faults: tuple[str, ...] = ()
    """One sentence for each box that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class EdaPage:
    """Everything on the page of a competition's data."""

    head: EdaHead
    findings: tuple[Finding, ...] = ()
    """``data_findings`` works them out of the page; the caller may add its own."""
    problem: ProblemForm | None = None
    classes: ClassesSummary | None = None
    targets: NDArray[np.float64] | None = None
    """Targets of a regression, (N,)."""
    pictures: PicturesSummary | None = None
    map: EmbeddingMap | None = None
    eigen: EigenPictures | None = None
    integrity: IntegritySummary | None = None
    duplicates: DuplicatesSummary | None = None
    leaks: LeaksSummary | None = None
    shift: ShiftSummary | None = None
    suspects: SuspectsSummary | None = None
    metadata: MetadataSummary | None = None
    boxes: tuple[BoxesSummary, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    """Settings worth changing, as of ``suggest``; what could make a score lie first."""
