"""Step ``pseudo``: labels for pictures without any, by earlier runs, fold by fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gorae.errors import DataError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import content_key, exclusive_lock, read_json, sha256_file, write_json
from gorae.pipeline.context import Context, open_context, read_scan, usable
from gorae.pipeline.contract import Split
from gorae.pipeline.part_target import as_target, target_of
from gorae.pipeline.pixels import prepare
from gorae.pipeline.predict import run_spec
from gorae.pipeline.pseudo_labels import FILES, REFIT
from gorae.pipeline.pseudo_pictures import (
    PICTURE_COLUMNS,
    Company,
    company,
    folder_pictures,
    with_pictures,
)
from gorae.pipeline.pseudo_teachers import (
    Labels,
    held_out_labels,
    picture_labels,
    read_teachers,
    test_labels,
)
from gorae.workspace import write_frame


@dataclass(frozen=True)
class PseudoResult:
    """Labels that were made."""

    name: str
    """What ``pseudo.labels`` calls them."""
    folder: Path
    record: dict[str, Any]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            **self.record,
            "warnings": list(self.warnings),
        }


def pseudo(
    folder: Path,
    *,
    runs: Sequence[str] = (),
    images: Path | None = None,
    on_event: OnEvent = ignore_events,
) -> PseudoResult:
    """Label pictures by earlier runs: what fold k learns is said by their models of fold k.

    Those never saw what validates in fold k, so neither does who learns from them. Labels are
    mean probabilities over runs, checkpoints and views, of pictures as in evaluation (Noisy
    Student: a teacher without noise). The refit learns the mean over all folds.

    Args:
        folder: The competition.
        runs: Ids of trained runs, or their beginnings, all of the same folds; none: the newest.
        images: Folder of pictures without labels; absent: the test pictures.
        on_event: Hears progress.

    Raises:
        UserError: There is no such run, or no such folder.
        ConfigError: A run cannot label, or they are of other folds than each other.
        DataError: There are no pictures to label.
    """
    context = open_context(folder)
    named: Sequence[str | None] = runs or [None]
    context = as_target(context, target_of(context.workspace.run(named[0])))
    teachers, split = read_teachers(context, named)
    on_event(Event("stage", "pseudo", f"labels by {', '.join(t.run.run_id for t in teachers)}"))
    pictures = _test_pictures(context) if images is None else folder_pictures(context, images)
    context = with_pictures(context, pictures)
    if images is not None:
        recipe = teachers[0].recipe
        prepare(context, recipe, run_spec(teachers[0].run), on_event=on_event)
    scan = read_scan(context)
    pictures = pictures[usable(scan, pictures["image_id"])].reset_index(drop=True)
    if pictures.empty:
        raise DataError(
            "None of the pictures to label can be read; .gorae/scan.parquet says why."
        )
    ids = pictures["image_id"].tolist()
    pictures["sha256"] = scan.loc[ids, "sha256"].to_numpy(object)
    if images is None:
        says = test_labels(teachers, ids)
    else:
        says = picture_labels(context, teachers, ids, on_event=on_event)
    together = company(
        context, scan, split, teachers[0].recipe.split, image_ids=ids, on_event=on_event
    )
    frames = {
        "pictures": pictures,
        "labels": _label_table(ids, says, together, split),
        "held_out": held_out_labels(context, teachers),
    }
    record = {
        "source": "test" if images is None else "images",
        "images": None if images is None else str(images),
        "teachers": [teacher.identity() for teacher in teachers],
        "split": split.key,
        "classes": list(context.columns),
        "num_pictures": len(ids),
        "checked": list(together.levels),
        **_counts(context, frames["labels"], together),
    }
    return _keep(context, frames, record, on_event)


def _test_pictures(context: Context) -> pd.DataFrame:
    test = context.tables.test
    if test.empty:
        raise DataError(
            "The competition has no test pictures to label. Name a folder of pictures without "
            "labels with --images."
        )
    known = set(context.tables.train["image_id"])
    test = test[(test["path"] != "") & ~test["image_id"].isin(known)]
    return test[list(PICTURE_COLUMNS)].drop_duplicates("image_id", ignore_index=True)


def _label_table(
    ids: Sequence[str], says: Labels, together: Company, split: Split
) -> pd.DataFrame:
    """As in ``PseudoLabels.labels``: the folds in order, then the refit."""
    mean = np.stack(list(says.values())).astype(np.float64).mean(axis=0).astype(np.float32)
    parts = []
    for place in (*split.members(), REFIT):
        proba = mean if place == REFIT else says[place]
        lines = pd.DataFrame(proba, columns=[f"p{index}" for index in range(proba.shape[1])])
        folds = split.folds
        at = (folds["repeat"] == place[0]) & (folds["fold"] == place[1])
        held_out = [] if place == REFIT else folds["image_id"][at].tolist()
        lines.insert(0, "left_out", together.left_out(held_out))
        lines.insert(0, "image_id", list(ids))
        lines.insert(0, "fold", place[1])
        lines.insert(0, "repeat", place[0])
        parts.append(lines)
    return pd.concat(parts, ignore_index=True)


def _counts(context: Context, labels: pd.DataFrame, together: Company) -> dict[str, Any]:
    """How many are left out of each fold and why, and how many labels are known to be right."""
    folds = labels[labels["fold"] >= 0]
    out = folds[folds["left_out"] != ""]
    per_fold = {
        f"{repeat}-{fold}": int((part["left_out"] != "").sum())
        for (repeat, fold), part in folds.groupby(["repeat", "fold"])
    }
    twins = together.labelled_twins()
    label_of = context.tables.train.set_index("image_id")["label"]
    # By the models that held the labelled twin out: these did not learn it by heart.
    known = out[out["image_id"].isin(twins)]
    columns = [name for name in labels.columns if name[0] == "p" and name[1:].isdigit()]
    best = known[columns].to_numpy(np.float32).argmax(axis=1)
    classes = np.array(context.tables.classes, dtype=object)
    truth = np.array([label_of[twins[image_id]] for image_id in known["image_id"]], object)
    return {
        "left_out": per_fold,
        "reasons": {str(k): int(n) for k, n in out["left_out"].value_counts().items()},
        "num_known": len(known),
        "num_known_right": int((classes[best] == truth).sum()),
    }


def _keep(
    context: Context,
    frames: dict[str, pd.DataFrame],
    record: dict[str, Any],
    on_event: OnEvent,
) -> PseudoResult:
    """Write the tables below a name that is a hash of what they hold and come of."""
    root = context.workspace.pseudo
    values = pd.util.hash_pandas_object(frames["labels"], index=False).to_numpy(np.uint64)
    name = content_key([record, values.tolist(), frames["pictures"]["sha256"].tolist()])
    target = root / name
    root.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(root / "lock", purpose="making pseudo-labels"):
        earlier = [read_json(path)["number"] for path in root.glob("*/record.json")]
        files = {}
        for file in FILES:
            write_frame(target / f"{file}.parquet", frames[file])
            files[file] = sha256_file(target / f"{file}.parquet")
        number = max(earlier, default=0) + 1
        record = {"name": name, "number": number, **record, "files": files}
        # Last: labels are there when it is.
        write_json(target / "record.json", record)
    warnings = tuple(_warnings(record))
    for text in warnings:
        on_event(Event("warning", "pseudo", text))
    return PseudoResult(name, target, record, warnings)


def _warnings(record: dict[str, Any]) -> list[str]:
    found = []
    if record["source"] == "test":
        found.append(
            "these are test pictures: who learns from them is fitted to this test set "
            "(transductive), which the rules of the competition must allow"
        )
    most = max(record["left_out"].values())
    if most > record["num_pictures"] / 2:
        found.append(
            f"{most} of {record['num_pictures']} pictures are left out of a fold, as they are "
            "or resemble pictures that validate there"
        )
    return found
