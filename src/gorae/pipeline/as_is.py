"""A run that trains nothing: the network's own classes, mapped to the competition's."""

import time
from collections.abc import Sequence
from pathlib import Path

from gorae.data.tables import read_csv_text
from gorae.errors import ConfigError, DataError, list_problems
from gorae.events import Event
from gorae.inference import Pictures, predict_probabilities
from gorae.models import LoadedModel, map_class_probabilities
from gorae.pipeline.job import Job, finish_member, keep_predictions
from gorae.pipeline.network import keep_backbone
from gorae.training.outputs import OutputForm

CHECKPOINT = "as-is"


def train_as_is(job: Job, loaded: LoadedModel) -> None:
    """Predict every picture once; each fold's part is out of fold, as no label was seen."""
    recipe, classes = job.recipe, job.context.tables.classes
    if job.context.competition.task not in ("multiclass", "ordinal"):
        raise ConfigError(
            'model.use = "as_is" answers with one class per picture; this competition has '
            f'task = "{job.context.competition.task}". Use "frozen" or "finetune".'
        )
    if recipe.model.class_table is None:
        raise ConfigError(
            'model.use = "as_is" needs model.class_table: a CSV with the columns model_class '
            f"(index of the network's class) and class (one of {', '.join(classes)})."
        )
    table = read_class_table(
        job.context.workspace.folder / recipe.model.class_table,
        num_model_classes=loaded.model.num_outputs,
        classes=classes,
    )
    keep_backbone(job.context.workspace, job.run, loaded, with_head=True)
    started = time.monotonic()
    hashes = [*job.train["sha256"], *job.test["sha256"]]
    num_train = len(job.train)

    def on_progress(done: int, total: int) -> None:
        job.on_event(Event("progress", "train", "pictures", done, total))

    found = predict_probabilities(
        loaded.model,
        Pictures(job.pixels, hashes, job.spec, job.image_ids),
        form=OutputForm("softmax"),
        views=job.views,
        execution=job.execution,
        on_progress=on_progress,
    )
    values = {
        view: map_class_probabilities(rows, table, classes) for view, rows in found.items()
    }
    elapsed_s = time.monotonic() - started
    ids = job.train["image_id"].to_numpy()
    for repeat, fold in job.split.members():
        member = job.run.member(job.member_name(repeat, fold))
        _, valid = job.split.parts(repeat, fold, ids.tolist())
        for view, rows in values.items():
            parts = [
                ("valid", ids[valid].tolist(), rows[:num_train][valid]),
                ("test", job.test["image_id"].tolist(), rows[num_train:]),
            ]
            for part, image_ids, chosen in parts:
                keep_predictions(
                    job, member, part, image_ids, chosen, checkpoint=CHECKPOINT, view=view
                )
        finish_member(
            job,
            member,
            place=(repeat, fold),
            used=[CHECKPOINT],
            sizes=(0, int(valid.sum())),
            elapsed_s=elapsed_s / len(job.split.members()),
            extra={"class_table": {str(index): name for index, name in table.items()}},
        )


def read_class_table(
    path: Path, *, num_model_classes: int, classes: Sequence[str]
) -> dict[int, str]:
    """Which class of the competition each class of the network means.

    Args:
        path: CSV with the columns ``model_class`` (an index from 0) and ``class``.
        num_model_classes: Classes of the network.
        classes: Classes of the competition; each needs at least one line.

    Raises:
        DataError: A line cannot be used or a class is without one; all are named.
    """
    table = read_csv_text(path, encoding="utf-8", delimiter=",")
    missing = {"model_class", "class"} - set(table.columns)
    if missing:
        raise DataError(f"{path} lacks the column(s) {', '.join(sorted(missing))}.")
    mapping: dict[int, str] = {}
    problems = []
    for row, (index, name) in enumerate(
        zip(table["model_class"], table["class"], strict=True), 2
    ):
        if not index.isascii() or not index.isdigit() or int(index) >= num_model_classes:
            problems.append(
                f"row {row}: model_class {index!r} is not 0 to {num_model_classes - 1}"
            )
        elif name not in classes:
            problems.append(
                f"row {row}: class {name!r} is not one of {', '.join(classes[:10])}"
            )
        elif int(index) in mapping:
            problems.append(f"row {row}: model_class {index} is there twice")
        else:
            mapping[int(index)] = name
    absent = [name for name in classes if name not in mapping.values()]
    problems += [f"class {name!r} has no line" for name in absent]
    if problems:
        raise DataError(f"{path} cannot be used:\n{list_problems(problems)}")
    return mapping
