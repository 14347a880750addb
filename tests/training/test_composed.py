"""The loss of composed labels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gorae.augment.mix import MixPlan
from gorae.data.composed import composed_probabilities, part_indices
from gorae.data.person_layout import COMPOSITION
from gorae.data.sources import LabelPart
from gorae.errors import ConfigError
from gorae.files import sha256_file
from gorae.models import build_model
from gorae.models.plan import CosinePlan, Parts
from gorae.training.composed import composed_loss, part_rows, part_tables
from gorae.training.fit import fit_fold
from gorae.training.losses import LossPlan
from gorae.training.optim import OptimPlan
from gorae.training.plan import Control, FitPlan, FoldData, Interrupted
from gorae.training.schedules import Course, SchedulePlan

TABLE = part_indices([LabelPart(**part) for part in COMPOSITION], [str(k) for k in range(18)])
TABLES = part_tables(TABLE)
LABELS = torch.tensor([0, 4, 11, 13, 17, 5])
ROWS = F.one_hot(LABELS, 18).float()


def row_cross_entropy(outputs: Tensor, rows: Tensor) -> Tensor:
    return F.cross_entropy(outputs, rows, reduction="none")


def test_rows_of_parts_are_those_of_the_part_indices() -> None:
    for place, rows in enumerate(part_rows(ROWS, tables=TABLES)):
        assert rows.argmax(dim=1).tolist() == TABLE[LABELS, place].tolist()
        torch.testing.assert_close(rows.sum(dim=1), torch.ones(6))


def test_a_blend_of_images_is_the_blend_of_their_parts() -> None:
    rows = torch.lerp(ROWS, ROWS.flip(0), 0.3)
    for found, plain in zip(
        part_rows(rows, tables=TABLES), part_rows(ROWS, tables=TABLES), strict=True
    ):
        torch.testing.assert_close(found, torch.lerp(plain, plain.flip(0), 0.3))


@pytest.mark.parametrize("num_classes", [0, 18])
@pytest.mark.parametrize("weights", [None, (0.5, 0.25, 2.0)])
def test_it_is_the_sum_of_torchs_cross_entropies(
    num_classes: int, weights: tuple[float, ...] | None
) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(6, num_classes + 8)
    found = composed_loss(
        outputs, ROWS, tables=TABLES, loss=row_cross_entropy, part_weights=weights
    )
    expected = torch.zeros(6)
    if num_classes:
        expected += F.cross_entropy(outputs[:, :18], LABELS, reduction="none")
    of_parts = torch.split(outputs[:, num_classes:], [3, 2, 3], dim=1)
    for place, (logits, weight) in enumerate(zip(of_parts, weights or (1, 1, 1), strict=True)):
        labels = torch.from_numpy(TABLE[LABELS, place])
        expected += weight * F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(found, expected)


def test_the_sum_over_parts_is_the_log_probability_of_the_class() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(6, 8)
    loss = composed_loss(outputs, ROWS, tables=TABLES, loss=row_cross_entropy)
    proba = composed_probabilities(outputs.numpy(), parts=TABLE)
    np.testing.assert_allclose(loss.numpy(), -np.log(proba[range(6), LABELS]), rtol=1e-5)


Fold = Callable[..., FoldData]
PLAN = FitPlan(
    course=Course(SchedulePlan(), epochs=2),
    batch_size=4,
    optim=OptimPlan(lr=0.01, backbone_lr=0.01),
    mix=MixPlan(mixup=0.4),
)
TRAININGS = {
    "thanet": (
        Parts(head="thanet", outputs="both", part_sizes=(2, 2), drop_rate=0.3),
        LossPlan("focal", part_weights=(0.5, 2.0)),
    ),
    "vanilla": (
        Parts(head="vanilla", outputs="parts", part_sizes=(2, 2), drop_rate=0.3),
        LossPlan(label_smoothing=0.1),
    ),
    "cosine": (
        Parts(head="cosine", cosine=CosinePlan(embedding=8, centres=2), drop_rate=0.3),
        LossPlan(margin_range=(0.1, 0.4), scale=30.0),
    ),
}


def fit(folder: Path, kind: str, data: FoldData, control: Control) -> dict[str, str]:
    """Hashes of all that a training leaves behind."""
    parts, loss = TRAININGS[kind]
    width = {"classes": 2, "parts": 4, "both": 6}[parts.outputs]
    model = build_model(
        "lenet5", num_outputs=width, kwargs={}, seed=0, folder=Path(), parts=parts
    )
    if parts.part_sizes:
        data = replace(data, parts=np.array([[0, 1], [1, 0]]))
    fit_fold(model, data, plan=replace(PLAN, loss=loss), folder=folder, control=control)
    return {path.name: sha256_file(path) for path in (folder / "checkpoints").iterdir()}


def stop_at(step: int) -> Control:
    """Stop after so many steps."""
    taken: list[int] = []
    return Control(
        workers=0,
        should_stop=lambda: len(taken) >= step,
        on_step=lambda done, _: taken.append(done),
    )


@pytest.mark.parametrize("kind", TRAININGS)
def test_stopped_at_any_step_and_resumed(kind: str, fold: Fold, tmp_path: Path) -> None:
    data = fold()
    undisturbed = fit(tmp_path / "a", kind, data, Control(workers=0))
    for step in (2, 6, 1):
        with pytest.raises(Interrupted):
            fit(tmp_path / "b", kind, data, stop_at(step))
    assert fit(tmp_path / "b", kind, data, Control(workers=0)) == undisturbed


def test_other_parts_are_another_training(fold: Fold, tmp_path: Path) -> None:
    data = fold()
    fit(tmp_path, "thanet", data, Control(workers=0))
    parts, loss = TRAININGS["thanet"]
    model = build_model("lenet5", num_outputs=6, kwargs={}, seed=0, folder=Path(), parts=parts)
    other = replace(data, parts=np.array([[0, 0], [1, 1]]))
    with pytest.raises(ConfigError, match=r"parts was .*, now"):
        fit_fold(model, other, plan=replace(PLAN, loss=loss), folder=tmp_path)
