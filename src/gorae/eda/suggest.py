"""What the data suggest for the settings, each with the numbers that are its reason.

Nothing is changed here: a suggestion is a key (the page has a sentence for it), the numbers in
that sentence, and the settings as they are written in a recipe or in competition.toml.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from gorae.data.sources import META_PREFIX, Task
from gorae.eda.distributions import ClassBalance
from gorae.eda.metadata import CleanTable

Channels = tuple[float, float, float]
Values = Mapping[str, int | float | str]

# Of ILSVRC 2012's train set, as published pretrained weights expect.
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
# In ImageNet's standard deviations, and a factor of them: photographs of pets differ by 0.1,
# x-rays by 0.5, hands before a white wall by 0.9.
_FAR_MEAN, _FAR_STD = 0.5, 1.6

# Usual sizes; the cost of a picture grows with the square of its side.
_SIZES = {"gpu": 224, "cpu": 160}
# Networks shrink 32 times; below three steps nothing is left to pool.
_STEP, _SMALLEST = 32, 96

# Fewer pictures of the typical class than this rarely pay for training a whole network
# (Kornblith et al., 2019, on small fine-grained sets).
_ENOUGH_PER_CLASS = 50
_ENOUGH_OF_NUMBERS = 2 * _ENOUGH_PER_CLASS

_UNEVEN, _VERY_UNEVEN = 3.0, 20.0
# Metrics in which each class counts the same however rare it is.
_CLASS_AVERAGES = frozenset(("macro_f1", "balanced_accuracy", "mcc", "f_beta", "qwk"))

_GREY, _SOME_GREY = 0.95, 0.02

# A centre square cuts this share off the extreme pictures: worth caring, worth padding.
_CUT, _MUCH_CUT = 0.25, 0.5

# Pictures per value from which a column repeats on purpose.
_REPEATED = 1.2
_MANY_VALUES = 20


@dataclass(frozen=True)
class SubjectColumn:
    """A metadata column whose values look like patients, persons or other subjects."""

    name: str
    """``meta.NAME``."""
    num_subjects: int
    """Different values in train."""
    largest: int
    """Train pictures of the most frequent one."""
    num_shared: int | None
    """Values that stand in test too; None where the test table lacks the column."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a competition when settings are suggested."""

    num_train: int
    """Readable train pictures."""
    task: Task
    """What a label is."""
    metric: str
    """Name of the metric."""
    is_gpu: bool
    """Whether training will run on a GPU."""
    median_short_side_px: float
    """Of the files, not of the stored pixels."""
    aspects: tuple[float, float]
    """Width by height that 5 % and 95 % of the pictures are below."""
    rgb_mean: Channels
    """Mean of each channel, 0 to 1."""
    rgb_std: Channels
    """Standard deviation of each channel, 0 to 1."""
    grey_share: float
    """Share of pictures without colour."""
    balance: ClassBalance | None = None
    """Of the train classes; None for several labels per row and for numbers."""
    num_outliers: Mapping[str, int] | None = None
    """Pictures per kind of ``find_outliers``."""
    subjects: tuple[SubjectColumn, ...] = ()
    """Columns that look like subjects."""
    group_columns: tuple[str, ...] = ()
    """Columns that are groups already, as ``meta.NAME``."""


@dataclass(frozen=True)
class Suggestion:
    """A change of settings that the data speak for, or a thing to know."""

    key: str
    """Names the sentence; one of SUGGESTION_KEYS."""
    values: Values
    """Numbers and names in the sentence."""
    settings: tuple[str, ...] = ()
    """Lines of TOML with dotted keys, such as ``pixels.input_size = 160``; empty: nothing to
    set."""
    file: Literal["recipe", "competition"] = "recipe"
    """Where the settings belong."""


SUGGESTION_KEYS: dict[str, tuple[str, ...]] = {
    "input_size.of_pictures": ("size", "short_side"),
    "input_size.of_cpu": ("size", "short_side"),
    "input_size.of_gpu": ("size", "short_side"),
    "stored_size.room": ("stored", "size", "larger", "gigabytes"),
    "normalisation.far": ("distance", "mean", "std"),
    "grey.all": ("share",),
    "grey.some": ("share", "p"),
    "imbalance.weights": ("ratio", "metric"),
    "imbalance.sampler": ("ratio", "metric"),
    "imbalance.leave": ("ratio", "metric"),
    "classes.absent": ("count",),
    "groups.subject": ("column", "subjects", "pictures", "largest"),
    "groups.shared": ("column", "shared"),
    "small_data.frozen": ("typical", "enough"),
    "crop.some": ("share",),
    "crop.much": ("share",),
    "outliers.look": ("count", "kind", "kind_count"),
}
"""Every key, with the names of its values."""


def suggest(facts: Facts) -> tuple[Suggestion, ...]:
    """All that the data suggest, what could make a score lie first."""
    return tuple(suggestion for rule in _RULES for suggestion in rule(facts))


def metadata_subjects(clean: CleanTable) -> tuple[SubjectColumn, ...]:
    """Metadata columns that look like subjects: ids that repeat.

    A category of many values counts too when train and test share none of them: that is how
    organisers split by subject.
    """
    found = []
    for name, kind in clean.kinds.items():
        counts = clean.train[name].value_counts()
        is_repeated = len(counts) > 1 and counts.sum() >= _REPEATED * len(counts)
        if kind not in ("id", "category") or not is_repeated:
            continue
        test = set(clean.test[name].dropna())
        num_shared = len(test.intersection(counts.index)) if test else None
        is_split = num_shared == 0 and len(counts) >= _MANY_VALUES
        if kind == "id" or is_split:
            found.append(SubjectColumn(name, len(counts), int(counts.max()), num_shared))
    return tuple(found)


def _groups(facts: Facts) -> list[Suggestion]:
    found = []
    for subject in facts.subjects:
        name = subject.name.removeprefix(META_PREFIX)
        if subject.name not in facts.group_columns:
            values: Values = {
                "column": name,
                "subjects": subject.num_subjects,
                "pictures": facts.num_train,
                "largest": subject.largest,
            }
            quoted = name.replace("\\", "\\\\").replace('"', '\\"')
            setting = f'train.group_columns = ["{quoted}"]'
            found.append(Suggestion("groups.subject", values, (setting,), "competition"))
        if subject.num_shared:
            shared: Values = {"column": name, "shared": subject.num_shared}
            found.append(Suggestion("groups.shared", shared))
    return found


def _amount(facts: Facts) -> list[Suggestion]:
    typical, enough = float(facts.num_train), _ENOUGH_OF_NUMBERS
    if facts.balance is not None:
        counts = sorted(facts.balance.counts)
        middle = len(counts) // 2
        typical, enough = (counts[middle] + counts[~middle]) / 2, _ENOUGH_PER_CLASS
    if typical >= enough:
        return []
    values: Values = {"typical": typical, "enough": enough}
    return [Suggestion("small_data.frozen", values, ('model.use = "frozen"',))]


def _imbalance(facts: Facts) -> list[Suggestion]:
    if facts.balance is None:
        return []
    found = []
    if facts.balance.num_absent:
        found.append(Suggestion("classes.absent", {"count": facts.balance.num_absent}))
    ratio = facts.balance.ratio
    values: Values = {"ratio": ratio, "metric": facts.metric}
    if ratio < _UNEVEN:
        return found
    if facts.metric not in _CLASS_AVERAGES:
        # Weights would bend the probabilities that such metrics are about.
        return [*found, Suggestion("imbalance.leave", values)]
    if ratio < _VERY_UNEVEN:
        # The root: weights N / (K n) span so much that rare classes drown all others.
        settings: tuple[str, ...] = ("loss.class_weight_power = 0.5",)
        return [*found, Suggestion("imbalance.weights", values, settings)]
    settings = ('train.sampler = "weighted"', "train.sampler_power = 0.5")
    return [*found, Suggestion("imbalance.sampler", values, settings)]


def _size(facts: Facts) -> list[Suggestion]:
    side = facts.median_short_side_px
    most = max(_SMALLEST, _floor(side))
    device = "gpu" if facts.is_gpu else "cpu"
    size = min(_SIZES[device], most)
    key = "of_pictures" if size < _SIZES[device] else f"of_{device}"
    values: Values = {"size": size, "short_side": round(side)}
    found = [Suggestion(f"input_size.{key}", values, (f"pixels.input_size = {size}",))]
    larger = min(most, _floor(1.5 * size))
    if larger > size:
        # As the default does for one size: 1.15 times.
        stored = min(math.ceil(1.15 * larger), math.ceil(side))
        low, high = facts.aspects
        longer = max(1.0, math.sqrt(max(low, 1 / low) * max(high, 1 / high)))
        room: Values = {
            "stored": stored,
            "size": size,
            "larger": larger,
            "gigabytes": 3 * stored**2 * longer * facts.num_train / 1e9,
        }
        found.append(
            Suggestion("stored_size.room", room, (f"pixels.stored_short_side = {stored}",))
        )
    return found


def _floor(side: float) -> int:
    return int(side) // _STEP * _STEP


def _normalisation(facts: Facts) -> list[Suggestion]:
    known = list(zip(facts.rgb_mean, facts.rgb_std, IMAGENET_MEAN, IMAGENET_STD, strict=True))
    distance = sum(abs(mean - usual) / spread for mean, _, usual, spread in known) / 3
    factor = math.exp(sum(math.log(max(std, 1e-4) / usual) for _, std, _, usual in known) / 3)
    if distance < _FAR_MEAN and 1 / _FAR_STD < factor < _FAR_STD:
        return []
    texts = [
        ", ".join(f"{value:.4f}" for value in values)
        for values in (facts.rgb_mean, facts.rgb_std)
    ]
    values: Values = {"distance": distance, "mean": texts[0], "std": texts[1]}
    settings = (f"pixels.mean = [{texts[0]}]", f"pixels.std = [{texts[1]}]")
    return [Suggestion("normalisation.far", values, settings)]


def _grey(facts: Facts) -> list[Suggestion]:
    share = facts.grey_share
    if share >= _GREY:
        return [Suggestion("grey.all", {"share": share})]
    if share < _SOME_GREY:
        return []
    p = round(min(max(share, 0.1), 0.5), 1)
    setting = f'augment.transforms = [{{ name = "RandomGrayscale", p = {p} }}]'
    return [Suggestion("grey.some", {"share": share, "p": p}, (setting,))]


def _crop(facts: Facts) -> list[Suggestion]:
    share = float(max(1 - min(aspect, 1 / aspect) for aspect in facts.aspects))
    if share < _CUT:
        return []
    if share < _MUCH_CUT:
        return [Suggestion("crop.some", {"share": share}, ("pixels.crop_pct = 1.0",))]
    setting = 'preprocess = [{ step = "pad_square" }]'
    return [Suggestion("crop.much", {"share": share}, (setting,))]


def _outliers(facts: Facts) -> list[Suggestion]:
    counts = {kind: count for kind, count in (facts.num_outliers or {}).items() if count}
    if not counts:
        return []
    kind = max(counts, key=lambda kind: counts[kind])
    values: Values = {"count": sum(counts.values()), "kind": kind, "kind_count": counts[kind]}
    return [Suggestion("outliers.look", values)]


_RULES: tuple[Callable[[Facts], list[Suggestion]], ...] = (
    _groups,
    _amount,
    _imbalance,
    _size,
    _crop,
    _normalisation,
    _grey,
    _outliers,
)
