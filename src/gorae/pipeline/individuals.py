"""What a member says of individuals: its head, its nearest training pictures, or both.

A network of individuals gives outputs and, after them, an embedding. Here both become scores of
the K classes: of doubled classes the half that a view shows, cosines instead of probabilities
where they are mixed with those to the gallery.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.config.individuals import MIRRORED_VIEWS
from gorae.ensemble.retrieval import identity_scores, mix_scores
from gorae.errors import ConfigError
from gorae.heads import Head
from gorae.inference import NamedWeights
from gorae.metrics import Metric
from gorae.pipeline.context import Context
from gorae.pipeline.open_split import unknown_label
from gorae.stores.gallery import Gallery, read_gallery, write_gallery
from gorae.training.outputs import OutputForm, activate
from gorae.workspace import Member

Scores = NDArray[np.float32]
ByView = Mapping[str, Scores]

# Outputs as the network gives them.
RAW = OutputForm("value")


@dataclass(frozen=True)
class Individuals:
    """How outputs and embeddings become scores of the classes."""

    num_classes: int
    """K."""
    share: float
    """Weight of the nearest training pictures; 0: no embeddings are asked for."""
    num_neighbours: int
    is_doubled: bool
    """Whether there are 2K outputs, the second half of mirrored pictures."""
    scale: float | None
    """What the head multiplied cosines by; None where its outputs are none."""

    @property
    def needs_gallery(self) -> bool:
        """Whether pictures are compared with training pictures."""
        return self.share > 0

    def as_raw(self, weights: Sequence[NamedWeights]) -> list[NamedWeights]:
        """The checkpoints, with their outputs left as they are."""
        return [replace(each, form=RAW) for each in weights]

    @property
    def num_outputs(self) -> int:
        """Outputs of the network, before its embedding."""
        return self.num_classes * (2 if self.is_doubled else 1)

    def of_head(self, raw: Scores, form: OutputForm, *, view: str) -> Scores:
        """What the head says of the K classes, (N, K), of raw outputs and what follows them."""
        start = self.num_classes if self.is_doubled and MIRRORED_VIEWS[view] else 0
        outputs = raw[:, start : start + self.num_classes]
        if self.needs_gallery and self.scale is not None:
            # Cosines, as the neighbours have them; a softmax of sharp logits orders no doubts.
            return outputs / np.float32(self.scale)
        return activate(outputs, form)

    def scores(
        self, of_head: Scores | None, embeddings: Scores, gallery: Gallery, *, view: str
    ) -> Scores:
        """Scores of the K classes, (N, K); ``of_head`` is None where neighbours decide alone.

        Of a class that the head was never trained on, as its individual was held out, the
        neighbours decide alone, too.
        """
        nearest = identity_scores(
            embeddings,
            gallery.embeddings[view],
            gallery.labels,
            num_identities=self.num_classes,
            num_neighbours=self.num_neighbours,
        )
        if of_head is None:
            return nearest
        of_both = np.where(gallery.is_learned, of_head, nearest)
        return mix_scores(nearest, of_both, nearest_share=self.share)

    def judge(
        self, raw: ByView, form: OutputForm, *, gallery: Gallery | None
    ) -> dict[str, Scores]:
        """Scores (N, K) by view of raw outputs with their embeddings."""
        found = {}
        for view, rows in raw.items():
            said = self.of_head(rows, form, view=view)
            if gallery is not None:
                embeddings = rows[:, self.num_outputs :]
                said = self.scores(said, embeddings, gallery, view=view)
            found[view] = said
        return found

    def embeddings(self, raw: ByView) -> dict[str, Scores]:
        """What follows the outputs, (N, E), by view."""
        return {view: rows[:, self.num_outputs :] for view, rows in raw.items()}


def said_of_features(
    individuals: Individuals | None,
    head: Head | None,
    gallery: Gallery | None,
    features: Scores,
    *,
    view: str,
) -> Scores:
    """What a frozen member says of features (N, D): its head, its gallery, or both."""
    said = None if head is None else head.predict(features)
    if individuals is None or gallery is None:
        assert said is not None
        return said
    return individuals.scores(said, features, gallery, view=view)


def individuals_of(recipe: Recipe, *, num_classes: int) -> Individuals | None:
    """How the members of ``recipe`` speak of individuals; None where they do as any others."""
    share = recipe.predict.retrieval_share
    is_finetuned = recipe.model.use == "finetune"
    is_doubled = recipe.augment.flip_identities and is_finetuned
    if not share and not is_doubled:
        return None
    return Individuals(
        num_classes=num_classes,
        share=share,
        num_neighbours=recipe.predict.retrieval_neighbours,
        is_doubled=is_doubled,
        scale=recipe.model.scale if is_finetuned and recipe.model.head == "cosine" else None,
    )


def unknown_class(context: Context) -> int | None:
    """Place of the unknown label among the classes; None where it is none of them."""
    form = context.competition.submission
    label = None if form is None else form.unknown_label
    classes = context.tables.classes
    return classes.index(label) if label in classes else None


def save_gallery(member: Member, checkpoint: str, gallery: Gallery) -> None:
    """Keep what a checkpoint's pictures are compared with, so that the run predicts later."""
    write_gallery(_gallery_path(member, checkpoint), gallery)


def load_gallery(member: Member, checkpoint: str) -> Gallery:
    """What ``save_gallery`` kept."""
    return read_gallery(_gallery_path(member, checkpoint))


def _gallery_path(member: Member, checkpoint: str) -> Path:
    return member.path / "galleries" / f"{checkpoint}.safetensors"


def require_individuals(context: Context, recipe: Recipe, metric: Metric) -> None:
    """Stop where settings of individuals do not fit the competition.

    Raises:
        ConfigError: Task, metric or label of the unknown do not fit.
    """
    predict, label = recipe.predict, None
    for setting, is_on in (
        ("split.unknown_share", recipe.split.unknown_share > 0),
        ("predict.unknown", predict.unknown != "none"),
    ):
        if is_on:
            label = unknown_label(context, setting=setting)
    wanted = [
        name
        for name, is_on in (
            ("predict.retrieval_share", predict.retrieval_share > 0),
            ("augment.flip_identities", recipe.augment.flip_identities),
        )
        if is_on
    ]
    task = context.competition.task
    if wanted and task != "multiclass":
        raise ConfigError(
            f"{wanted[0]} is about individuals, and the task is {task}: leave it out."
        )
    gives_scores = label is not None or predict.retrieval_share > 0
    if gives_scores and metric.needs == "probabilities":
        raise ConfigError(
            f"{metric.name} needs probabilities, and cosines and an unknown label have none. "
            "Leave predict.retrieval_share, predict.unknown and split.unknown_share out, or "
            "score by map_at_k or accuracy."
        )
    if (
        predict.unknown == "validation"
        and not recipe.split.unknown_share
        and label not in context.tables.classes
    ):
        raise ConfigError(
            'predict.unknown = "validation" looks for the best score of unknown individuals '
            f"where pictures of some validate, and no picture is labelled {label}: set "
            "split.unknown_share to the share of the test pictures you expect, or "
            "predict.unknown to that share."
        )
