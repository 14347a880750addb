"""How outputs of a network become predicted values, and which loss goes with which task.

Torch-free: settings are checked, and stored outputs activated, where there is no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, softmax

from gorae.data.composed import composed_probabilities
from gorae.data.sources import Task
from gorae.errors import ConfigError

Activation = Literal[
    "softmax", "sigmoid", "normalised_sigmoid", "value", "cumulative", "composed"
]


@dataclass(frozen=True)
class OutputForm:
    """What outputs mean: kept with the weights, or they could not be used again."""

    activation: Activation
    """``softmax``: one class of K. ``sigmoid``: each class for itself.
    ``normalised_sigmoid``: one class of K, learned one against the rest.
    ``value``: a number. ``cumulative``: K - 1 questions "is it above class k?".
    ``composed``: one class of K, made of parts; see ``gorae.data.composed.part_columns``."""
    shift: float = 0.0
    """Mean of the numbers in the train part; what a standardised 0 means."""
    scale: float = 1.0
    """Their standard deviation; what a standardised 1 adds."""
    parts: tuple[tuple[int, ...], ...] = ()
    """Index of each part in each class, K times P, where outputs are ``composed``."""
    coarse: tuple[int, ...] = ()
    """The predicted class of each class that outputs are of, where these are finer."""

    def __post_init__(self) -> None:
        # As JSON gives them back they are lists.
        object.__setattr__(self, "parts", tuple(map(tuple, self.parts)))
        object.__setattr__(self, "coarse", tuple(self.coarse))


def activate(outputs: NDArray[np.floating], form: OutputForm) -> NDArray[np.float32]:
    """Predicted values of outputs.

    Args:
        outputs: (N, K); or (N, K - 1) where they are cumulative, and where they are composed
            as ``num_outputs`` says.
        form: What they mean.

    Returns:
        (N, K): probabilities that sum to 1; independent probabilities (``sigmoid``); or
        numbers in their own unit (``value``). Of finer classes those of each class are added
        up.
    """
    exact = outputs.astype(np.float64)
    if form.activation == "softmax":
        values = softmax(exact, axis=1)
    elif form.activation == "sigmoid":
        values = expit(exact)
    elif form.activation == "normalised_sigmoid":
        # A softmax of the logarithms: sigmoids that are all 0 in float64 have no shares.
        values = softmax(log_expit(exact), axis=1)
    elif form.activation == "cumulative":
        values = _class_shares(expit(exact))
    elif form.activation == "composed":
        values = composed_probabilities(exact, parts=np.array(form.parts))
    else:
        values = exact * form.scale + form.shift
    if form.coarse:
        values = values @ np.eye(max(form.coarse) + 1)[list(form.coarse)]
    return values.astype(np.float32)


def _class_shares(above: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of K ordered classes (N, K) from those of being above each (N, K - 1)."""
    # Being above class 2 is no likelier than above class 1, whatever the network says.
    falling = np.minimum.accumulate(above, axis=1)
    return -np.diff(falling, axis=1, prepend=1.0, append=0.0)


@dataclass(frozen=True)
class LossKind:
    """What a loss is for, and what it asks of the network."""

    activations: Mapping[Task, Activation]
    """Its tasks, and how outputs become values in each."""
    source: str
    """Who described it."""
    uses: frozenset[str] = frozenset()
    """The fields of ``LossPlan``, beside ``kind``, that change it."""
    head: Literal["coral"] | None = None
    """``coral``: all questions share one weight vector and differ in their biases; None: any
    head."""
    composes: bool = False
    """Whether it can be taken of each part of a composed label as of the class."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks it fits."""
        return tuple(self.activations)


_ONE_CLASS: dict[Task, Activation] = {"multiclass": "softmax", "ordinal": "softmax"}
_ONE_AGAINST_REST: dict[Task, Activation] = {
    "multiclass": "normalised_sigmoid",
    "ordinal": "normalised_sigmoid",
}
_SEVERAL: dict[Task, Activation] = {"multilabel": "sigmoid"}
_NUMBER: dict[Task, Activation] = {"regression": "value"}
_ORDER: dict[Task, Activation] = {"ordinal": "cumulative"}

# Labels smoothed and classes weighed: whatever has labels.
_LABELS = frozenset(
    {
        *("label_smoothing", "smoothing_form"),
        *("class_weight_power", "class_weight_cap", "class_weight_as_max"),
    }
)
# Angles to one class of several: losses of logits that a softmax turns into shares.
_ANGLES = frozenset({"margin", "margin_range", "margin_power"})

LOSS_KINDS: dict[str, LossKind] = {
    "cross_entropy": LossKind(
        _ONE_CLASS,
        "negative log likelihood; smoothing: Szegedy et al., 2016",
        _LABELS | _ANGLES | {"part_weights"},
        composes=True,
    ),
    "focal": LossKind(
        {**_ONE_CLASS, **_SEVERAL},
        "Lin et al., 2017",
        _LABELS | _ANGLES | {"focal_gamma", "part_weights"},
        composes=True,
    ),
    "bce": LossKind(
        {**_ONE_AGAINST_REST, **_SEVERAL},
        "negative log likelihood; of one class among many: Wightman et al., 2021",
        _LABELS,
    ),
    "asymmetric": LossKind(
        {**_ONE_AGAINST_REST, **_SEVERAL},
        "Ridnik et al., 2021",
        _LABELS | {"asymmetric_gammas", "asymmetric_clip"},
    ),
    "soft_f1": LossKind(
        {**_ONE_CLASS, **_SEVERAL},
        "bcaitech1/p1-img-Lala-chick",
        _LABELS | _ANGLES | {"soft_f1_weights"},
    ),
    "mse": LossKind(_NUMBER, "least squares"),
    "smooth_l1": LossKind(_NUMBER, "Girshick, 2015", frozenset({"smooth_l1_beta"})),
    "coral": LossKind(_ORDER, "Cao, Mirjalili and Raschka, 2020", _LABELS, head="coral"),
    "cumulative": LossKind(_ORDER, "Li and Lin, 2007; Niu et al., 2016", _LABELS),
}

# An ordered class is learned as a plain class; its order counts in the metric.
_AUTO: dict[Task, str] = {
    "multiclass": "cross_entropy",
    "ordinal": "cross_entropy",
    "multilabel": "bce",
    "regression": "mse",
}


def resolve_loss(kind: str, task: Task) -> str:
    """The loss that ``kind``, which may be ``auto``, stands for.

    Raises:
        ConfigError: The loss does not exist or does not fit the task.
    """
    if kind == "auto":
        return _AUTO[task]
    fitting = [name for name, loss in LOSS_KINDS.items() if task in loss.tasks]
    if kind not in fitting:
        raise ConfigError(
            f"loss.kind = {kind!r} cannot be used where the task is {task}. "
            f"Set loss.kind to auto, {', '.join(fitting[:-1])} or {fitting[-1]}."
        )
    return kind


def num_outputs(
    kind: str,
    *,
    num_columns: int,
    outputs: Literal["classes", "parts", "both"] = "classes",
    part_sizes: Sequence[int] = (),
) -> int:
    """Outputs of a network that learns by a loss.

    Args:
        kind: A name of ``LOSS_KINDS``.
        num_columns: K columns of predictions.
        outputs: Logits of the classes, of each part of a composed label, or of both.
        part_sizes: Values of each part.
    """
    if outputs != "classes":
        return sum(part_sizes) + (num_columns if outputs == "both" else 0)
    is_cumulative = "cumulative" in LOSS_KINDS[kind].activations.values()
    return num_columns - 1 if is_cumulative else num_columns
