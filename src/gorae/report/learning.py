"""What is known of how a run learned, and what of it chance explains."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.report.page import Interval

Floats = NDArray[np.float64]

# Half the width of a 95 % interval, in standard errors.
Z = 1.96
# Share of the whole fall of the validation loss that may come in the last quarter: there the
# rates of the cosine are below a sixth of their peak, and a training that is done stands still.
MOST_LATE = 0.15
# Share of its whole fall by which the validation loss must rise again to be worth a word.
LEAST_RISE = 0.10
# Of smooth curves with noise of deviation s, the median second difference is 1.65 s, and the
# difference of two points is noise up to 1.96 * sqrt(2) * s.
JITTER = 1.96 * 2**0.5 / 1.65


@dataclass(frozen=True, kw_only=True)
class FoldFit:
    """What one fold knows of the pictures it learned from, and of the others."""

    train_score: float | None
    """Score on a sample of its train part, seen as in evaluation; None where undefined."""
    valid_score: float | None
    """Score of the same weights on its validation part."""
    num_sampled: int
    """Images ``train_score`` was measured on."""


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What there is to judge a run by."""

    metric: str
    greater_is_better: bool
    num_rows: int
    """Rows that were scored out of fold."""
    interval: Interval | None
    """95 % interval of the out-of-fold score."""
    baseline: float | None
    """Score of the best answer that looks at no picture."""
    perfect: float | None
    """Score of answers that are all right; None for a metric that is not known."""
    fits: tuple[FoldFit, ...] = ()
    """One per fine-tuned fold."""
    images_per_row: float = 1.0
    """Several pictures of one row say one thing, where chance is concerned."""
    folds: pd.DataFrame | None = None
    """Columns ``score`` and ``num_rows``: one line per fold."""
    curves: pd.DataFrame | None = None
    """Columns ``fold``, ``epoch``, ``train_loss``, ``valid_loss``, ``score``."""
    strengths: pd.DataFrame | None = None
    """Columns ``fold``, ``strength``, ``score`` (greater is better), ``chosen``."""


@dataclass(frozen=True)
class Gap:
    """Known against new pictures, greater is better whatever the metric's direction."""

    train: float
    valid: float
    noise: float
    """What chance makes of the difference, 95 %."""
    train_noise: float
    """The same of ``train`` alone."""
    num_folds: int

    @property
    def size(self) -> float:
        """Above 0 where known pictures are answered better."""
        return self.train - self.valid


@dataclass(frozen=True)
class Course:
    """The mean validation loss over the epochs, three at least."""

    losses: Floats
    train_losses: Floats | None

    @property
    def jitter(self) -> float:
        """What of a difference between two epochs is noise, 95 %."""
        return JITTER * float(np.median(np.abs(np.diff(self.losses, 2))))

    @property
    def best(self) -> int:
        """Index of the lowest loss."""
        return int(self.losses.argmin())

    @property
    def late(self) -> int:
        """Index of the epoch before the last quarter."""
        return len(self.losses) - 1 - max(1, len(self.losses) // 4)

    @property
    def fall(self) -> float:
        """From the first epoch to the lowest."""
        return float(self.losses[0] - self.losses.min())

    @property
    def late_share(self) -> float:
        """Share of the fall that came in the last quarter."""
        gain = float(self.losses[self.late] - self.losses[-1])
        return gain / self.fall if self.fall > 0 else 0.0

    @property
    def is_falling(self) -> bool:
        """Whether it still fell in the last quarter, notably and not by chance."""
        gain = float(self.losses[self.late] - self.losses[-1])
        is_at_end = self.best > self.late
        return is_at_end and gain > self.jitter and self.late_share > MOST_LATE

    @property
    def is_rising(self) -> bool:
        """Whether it rose for good, while what is learned from was known better and better."""
        rise = float(self.losses[-1] - self.losses[self.best])
        is_long = self.best <= len(self.losses) - 3
        is_fitted = self.train_losses is None or bool(
            self.train_losses[-1] < self.train_losses[self.best]
        )
        # A loss that never fell has no scale but its own.
        scale = max(self.fall, 0.1 * abs(float(self.losses[self.best])))
        return is_long and is_fitted and rise > max(self.jitter, LEAST_RISE * scale)


def signed(learning: Learning, score: float) -> float:
    """``score``, or its negative where lower is better."""
    return score if learning.greater_is_better else -score


def standard_error(learning: Learning, num_rows: float) -> float | None:
    """Of a score on so many rows, None without an interval.

    It falls with the root of their number, as that of a mean does; on pictures that are known
    by heart it is in truth smaller, so a gap is rather missed than invented.
    """
    if learning.interval is None:
        return None
    low, high = learning.interval
    return (high - low) / (2 * Z) * float(np.sqrt(learning.num_rows / max(num_rows, 1)))


def measure_gap(learning: Learning) -> Gap | None:
    """Mean over the folds that know both scores; None where there is none, or no interval."""
    known = [f for f in learning.fits if None not in (f.train_score, f.valid_score)]
    error = standard_error(learning, learning.num_rows)
    if not known or error is None:
        return None
    # Train parts of several folds share most of their pictures: they count as one.
    sampled = max(fit.num_sampled for fit in known) / learning.images_per_row
    train_error = standard_error(learning, sampled) or 0.0
    train = float(np.mean([fit.train_score for fit in known]))
    valid = float(np.mean([fit.valid_score for fit in known]))
    return Gap(
        train=signed(learning, train),
        valid=signed(learning, valid),
        noise=Z * float(np.hypot(error, train_error)),
        train_noise=Z * train_error,
        num_folds=len(known),
    )


def lost_share(learning: Learning, gap: Gap) -> float:
    """Share of what is known of seen pictures that is not known of new ones."""
    if learning.baseline is None:
        return gap.size / max(abs(gap.train), abs(gap.valid))
    gained = gap.train - signed(learning, learning.baseline)
    return gap.size / gained if gained > 0 else 0.0


def learned_share(learning: Learning, gap: Gap) -> float | None:
    """Share of what there is to know that is known of seen pictures."""
    if learning.baseline is None or learning.perfect is None:
        return None
    baseline = signed(learning, learning.baseline)
    whole = signed(learning, learning.perfect) - baseline
    return (gap.train - baseline) / whole if whole > 0 else None


def read_course(curves: pd.DataFrame | None) -> Course | None:
    """The validation loss of curves of three epochs or more."""
    if curves is None:
        return None
    losses = _mean_curve(curves, "valid_loss")
    if len(losses) < 3:
        return None
    train = _mean_curve(curves, "train_loss")
    return Course(losses, train if len(train) == len(losses) else None)


def _mean_curve(curves: pd.DataFrame, column: str) -> Floats:
    """Mean over the folds, of the epochs that all of them have, (E,)."""
    if column not in curves:
        return np.empty(0)
    table = curves.pivot_table(index="epoch", columns="fold", values=column)
    mean: Floats = table.dropna().mean(axis=1).to_numpy(np.float64)
    return mean
