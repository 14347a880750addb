"""What a report page holds: one frozen dataclass per section, absent where it is None."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.sources import Task
from gorae.report.texts import Text

Fit = Literal["overfits", "underfits", "learning", "balanced", "unstable", "unclear"]
Part = Literal["train", "holdout", "extra", "test"]
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture to look at."""

    data: bytes
    """Encoded as JPEG, PNG or WebP; ``thumbnail`` makes it."""
    name: str
    """Its file name, shown as it is."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was verified."""

    name: str
    """What was verified, in a few words: "every id exactly once"."""
    passed: bool
    """Whether it holds."""
    detail: str = ""
    """Counts, or what is wrong; may be empty."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What the run is and how good it is; the only section that is always there."""

    competition: str
    """Name of the competition."""
    task: Task
    """What a label is."""
    metric: str
    """Name of the competition's metric, as in the metric table or ``file.py:function``."""
    greater_is_better: bool
    """Whether a larger score is a better one."""
    run_id: str
    """Name of the run."""
    model: str
    """Backbone and how it was used, in a few words."""
    score: float
    """Out-of-fold score."""
    interval: Interval | None = None
    """95 % bootstrap interval of ``score``."""
    expected: Interval | None = None
    """95 % prediction interval of the score on the test set."""
    num_rows: int
    """Rows that were scored."""
    num_models: int
    """Trained models whose answers are joined on the test set."""
    baseline: float | None = None
    """Score of the best answer that looks at no picture; None where there is none."""
    warnings: tuple[str, ...] = ()
    """Sentences a user must read, most important first."""
    created: str | None = None
    """When the run was finished, as it is to be shown."""
    elapsed_s: float | None = None
    """Wall time of the run."""


@dataclass(frozen=True, kw_only=True)
class PartCount:
    """How much a part of the data holds."""

    part: Part
    num_rows: int
    """Rows: what is submitted and scored."""
    num_images: int
    """Pictures, all views of a row counted."""
    num_quarantined: int = 0
    """Pictures among them that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class ClassSamples:
    """Pictures of one class."""

    name: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """What the raw data are."""

    parts: tuple[PartCount, ...]
    class_counts: pd.DataFrame | None = None
    """Column ``class``, then a count per part ("train", "holdout", "extra"); class order."""
    targets: NDArray[np.float64] | None = None
    """Targets of a regression, (N,)."""
    sizes: pd.DataFrame | None = None
    """Columns ``width_px``, ``height_px``: one line per picture."""
    samples: tuple[ClassSamples, ...] = ()
    """A few pictures per class."""
    duplicates: pd.DataFrame | None = None
    """Columns ``set`` (number of the set of equal pictures), ``image_id``, and any more."""
    quarantined: pd.DataFrame | None = None
    """Columns ``image_id``, ``reason``, ``detail``: pictures that cannot be read."""
    notes: tuple[str, ...] = ()
    """Further sentences on the data."""


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """Who validates whom."""

    name: str
    """Hash of the split contract."""
    how: str
    """How it was made, in a few words: "5 folds, stratified, grouped by patient"."""
    balance: pd.DataFrame
    """Rows per class (index; a regression: bins of the target) and fold (columns)."""
    num_groups: int | None = None
    """Groups that stay together; None when every row is its own group."""
    largest_deviation: float | None = None
    """Largest |class share in a fold - class share overall|; None when not stratified."""
    checks: tuple[Check, ...] = ()
    """What the contract was verified for."""


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """How the models learned; one of the two tables, or neither."""

    curves: pd.DataFrame | None = None
    """Columns ``fold``, ``epoch``; any of ``train_loss``, ``valid_loss``, ``score``, ``lr``."""
    strengths: pd.DataFrame | None = None
    """Columns ``fold``, ``strength``, ``score`` (inside the train part; greater is better) and
    ``chosen`` (bool): what was tried for a head on frozen features."""


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """Something to try."""

    setting: str
    """What to set, as it is written: ``train.epochs = 12``."""
    why: Text
    """What it does here."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Whether a run learned too much by heart or too little; see ``diagnose``."""

    fit: Fit
    evidence: tuple[Text, ...]
    """What it is concluded from, in sentences with numbers."""
    remedies: tuple[Remedy, ...] = ()
    """The most promising first."""


@dataclass(frozen=True, kw_only=True)
class TransferAdvice:
    """What the rule of thumb of transfer learning says of these data."""

    sentence: Text
    reason: Text


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How often each true class (row) was called each class (column)."""

    classes: tuple[str, ...]
    counts: NDArray[np.int64]  # (K, K)


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Whether a said probability happens as often as it says."""

    bins: pd.DataFrame
    """Columns ``low``, ``high``, ``said`` (mean probability), ``happened`` (share),
    ``happened_low``, ``happened_high`` (its 95 % interval) and ``count``."""
    error: float
    """Mean |said - happened| over the bins, weighted by count (expected calibration error)."""
    positive: str | None
    """Class whose probability it is (two classes); None: probability of the class answered,
    or, with several labels per row, of every label."""


@dataclass(frozen=True, kw_only=True)
class Roc:
    """Hits against false alarms at every threshold of a two-class task."""

    false_alarms: NDArray[np.float64]  # (T,)
    hits: NDArray[np.float64]  # (T,)
    area: float
    positive: str


@dataclass(frozen=True, kw_only=True)
class RegressionFit:
    """Said against true numbers."""

    truth: NDArray[np.float64]  # (N,)
    predicted: NDArray[np.float64]  # (N,)


@dataclass(frozen=True, kw_only=True)
class Summaries:
    """Everything computed from the truth and out-of-fold values; see ``build_summaries``."""

    scores: tuple[tuple[str, float], ...]
    """Usual scores by metric name, the competition's own or not."""
    confusion: Confusion | None = None
    per_class: pd.DataFrame | None = None
    """Columns ``class``, ``precision``, ``recall``, ``f1``, ``support``, ``predicted`` and,
    where values are ordered, ``auc`` (one against the rest; NaN where undefined)."""
    reliability: Reliability | None = None
    roc: Roc | None = None
    regression: RegressionFit | None = None


@dataclass(frozen=True, kw_only=True)
class ErrorPicture:
    """A picture the model got wrong and was sure of."""

    picture: Picture
    true: str
    """True class, labels or number, as text."""
    predicted: str
    """Answered class, label or number, as text."""
    probability: float | None = None
    """How sure the model was of what it got wrong; None for a number."""


@dataclass(frozen=True, kw_only=True)
class SubmissionSummary:
    """The CSV that is sent, checked."""

    path: str
    """Where it was written."""
    num_rows: int
    """Rows of the CSV, head line not counted."""
    shares: pd.DataFrame | None = None
    """Column ``class`` (or bin), then the shares ``train``, ``oof`` and ``test``, 0 to 1."""
    fallback: pd.DataFrame | None = None
    """Columns ``id``, ``reason``: rows answered without a readable picture."""
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the run was made with."""

    settings: str
    """Text of run.toml."""
    environment: tuple[tuple[str, str], ...] = ()
    """Names and values: versions, machine, hashes."""
    arithmetic: Mapping[str, Any] | None = None
    """What was chosen for computing: ``choices.arithmetic`` of run.toml; None where nothing was
    computed."""
    commands: tuple[str, ...] = ()
    """Commands that make this run again, one per line."""


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """Everything on the page of one run."""

    headline: Headline
    data: DataSummary | None = None
    split: SplitSummary | None = None
    training: TrainingSummary | None = None
    diagnosis: Diagnosis | None = None
    """None where nothing was trained."""
    advice: TransferAdvice | None = None
    folds: pd.DataFrame | None = None
    """Columns ``fold`` (name), ``score``, ``num_rows``: one line per trained fold."""
    compared: pd.DataFrame | None = None
    """Columns ``what`` (view, without view, checkpoint, vote, equal weights, run), ``name``,
    ``score``, ``gain`` (how much better the answers of this run are; above 0 is better
    whatever the metric's direction), ``low`` and ``high`` (its 95 % interval, or NaN)."""
    summaries: Summaries | None = None
    errors: tuple[ErrorPicture, ...] = ()
    """Surest mistakes first; see ``confident_errors``."""
    submission: SubmissionSummary | None = None
    """None where no CSV was written."""
    provenance: Provenance | None = None
