"""Unknown individuals among the answers of a run: a column whose value is a threshold.

A row whose individual nobody of its fold trained on has the unknown label as its truth. The
label stands among the guesses before every class whose score is below the column's value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.sources import Tables
from gorae.ensemble.retrieval import UNKNOWN, choose_threshold, threshold_for_share
from gorae.errors import DataError
from gorae.metrics import Metric, evaluate
from gorae.pipeline.context import Context
from gorae.pipeline.scores import row_truth
from gorae.predictions import Predictions
from gorae.workspace import Member, RunFolder, read_frame, read_predictions

# Parts whose thresholds are chosen on the others, where the split has one part only.
NUM_PARTS = 5

# Guesses per row where the metric does not say.
GUESSES = 5


@dataclass(frozen=True, eq=False)
class OpenSet:
    """How a run tells the unknown: where the column stands, and what is true of its rows."""

    label: str
    """The unknown label; it may be a class of the train table as well."""
    how: str | float
    """``predict.unknown``."""
    is_added: bool
    """Whether the label is no class of the train table."""
    fixed: float
    """The column's value where ``how`` is none."""
    num_guesses: int
    """k of MAP@k."""
    truth: Mapping[str, int]
    """Class of each train row as it is scored; ``UNKNOWN`` where nobody knows it."""
    part: Mapping[str, int]
    """Fold of each train row that validates; parts of a single fold."""
    unlearned: Mapping[tuple[int, int], frozenset[str]]
    """Classes that a fold, by repeat and fold, held out whole; none where neighbours, who know
    them, speak for them."""

    def oof(self, rows: Predictions) -> Predictions:
        """Out-of-fold rows with the column: its value in a part is chosen on the others."""
        scores, parts = self._known(rows), np.array([self.part[row] for row in rows.ids])
        values = np.empty(len(rows.ids))
        for part in np.unique(parts):
            inside = parts == part
            chosen = ~inside if self.how == "validation" and not inside.all() else inside
            values[inside] = self._value(scores[chosen], self._truth(rows)[chosen])
        return self.with_column(rows, values)

    def test_value(self, oof: Predictions, test: Predictions | None) -> float:
        """The column's value on test rows, which out-of-fold rows or they themselves choose."""
        if self.how == "validation" or test is None:
            return self._value(self._known(oof), self._truth(oof))
        return self._value(self._known(test), np.zeros(0, dtype=np.int64))

    def unlearned_by(self, member: Member) -> frozenset[str]:
        """Classes that a member never learned; a refit learned all."""
        record = member.read_record()
        if "fold" not in record:
            return frozenset()
        return self.unlearned.get((record["repeat"], record["fold"]), frozenset())

    def told(
        self, oof: Predictions, test: Predictions | None, members: Sequence[Member]
    ) -> dict[str, Any]:
        """What result.json holds of it; ``oof`` has the column, ``test`` has none yet."""
        unlearned = {each.name: sorted(self.unlearned_by(each)) for each in members}
        value = self.test_value(oof, test)
        line = {
            "label": self.label,
            "how": self.how,
            "score": value,
            "is_added": self.is_added,
            "num_rows": int((self._truth(oof) == UNKNOWN).sum()),
            "first_share_oof": _first_share(oof, self.label),
            "unlearned": {name: classes for name, classes in unlearned.items() if classes},
        }
        if test is not None:
            line["first_share_test"] = _first_share(self.with_column(test, value), self.label)
        return {"unknown": line}

    def with_column(
        self, rows: Predictions, values: NDArray[np.float64] | float
    ) -> Predictions:
        """Rows with the column at ``values``; they are scores from then on."""
        return with_unknown(rows, self.label, values)

    def _known(self, rows: Predictions) -> NDArray[np.float32]:
        """Scores of the known individuals."""
        is_known = [name != self.label for name in rows.columns]
        scores: NDArray[np.float32] = rows.values[:, is_known]
        return scores

    def _truth(self, rows: Predictions) -> NDArray[np.int64]:
        """Place of each row's truth among the known columns; ``UNKNOWN`` for others."""
        return np.array([self.truth[row] for row in rows.ids], dtype=np.int64)

    def _value(self, scores: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
        if self.how == "none":
            return self.fixed
        if isinstance(self.how, float):
            return threshold_for_share(scores, share=self.how)
        if not (truth == UNKNOWN).any() or (truth == UNKNOWN).all():
            raise DataError(
                f'predict.unknown = "validation" found no pictures of {self.label}, or none of '
                "known individuals, to choose its score by. Raise or lower "
                "split.unknown_share, or set predict.unknown to the share you expect."
            )
        return choose_threshold(scores, truth, k=self.num_guesses)[0]


def _first_share(rows: Predictions, label: str) -> float:
    """Share of the rows whose first guess is the label."""
    return float((rows.values.argmax(axis=1) == rows.columns.index(label)).mean())


def with_unknown(
    rows: Predictions, label: str, values: NDArray[np.float64] | float
) -> Predictions:
    """Predictions as scores with a column ``label``, which is replaced where it is there."""
    columns, scores = list(rows.columns), rows.values.copy()
    if label not in columns:
        columns.append(label)
        scores = np.column_stack([scores, np.zeros(len(scores), dtype=np.float32)])
    scores[:, columns.index(label)] = values
    return Predictions(rows.ids, tuple(columns), scores.astype(np.float32), "score")


def find_open_set(
    context: Context, settings: Mapping[str, Any], contract: pd.DataFrame, metric: Metric
) -> OpenSet | None:
    """The open set that the settings of a run (run.toml) speak of; None for most."""
    recipe = settings["recipe"]
    how = recipe.get("predict", {}).get("unknown", "none")
    form = context.competition.submission
    if (how == "none" and "unknown" not in contract) or form is None:
        return None
    label = form.unknown_label
    assert label is not None, "training looked for it"
    seen = replace_labels(context, contract, label)
    known = {name: at for at, name in enumerate(c for c in seen.classes if c != label)}
    rows = seen.train.drop_duplicates("row_id")
    return OpenSet(
        label=label,
        how=how,
        is_added=label not in context.tables.classes,
        fixed=form.unknown_score,
        num_guesses=int(metric.params.get("k", GUESSES)),
        truth={
            row: known.get(name, UNKNOWN)
            for row, name in zip(rows["row_id"], rows["label"], strict=True)
        },
        part=_parts(context, contract),
        unlearned={}
        if recipe.get("predict", {}).get("retrieval_share")
        else _unlearned(context, contract),
    )


def _unlearned(
    context: Context, contract: pd.DataFrame
) -> dict[tuple[int, int], frozenset[str]]:
    if "unknown" not in contract:
        return {}
    held_out = contract[contract["unknown"]]
    label_of = context.tables.train.set_index("image_id")["label"]
    names = label_of.loc[held_out["image_id"]].to_numpy()
    folds = zip(held_out["repeat"], held_out["fold"], names, strict=True)
    found: dict[tuple[int, int], set[str]] = {}
    for repeat, fold, name in folds:
        found.setdefault((int(repeat), int(fold)), set()).add(str(name))
    return {place: frozenset(each) for place, each in found.items()}


def _parts(context: Context, contract: pd.DataFrame) -> dict[str, int]:
    column = "fold"
    if contract["fold"].max() == 0:
        contract = contract.assign(part=contract["group"] % NUM_PARTS)
        column = "part"
    row_of = context.tables.train.set_index("image_id")["row_id"]
    return dict(zip(row_of.loc[contract["image_id"]], contract[column].tolist(), strict=True))


def replace_labels(context: Context, contract: pd.DataFrame, label: str) -> Tables:
    """The tables with the unknown label where a picture's individual is unknown."""
    tables = context.tables
    train = tables.train
    if "unknown" in contract:
        unknown = contract.loc[contract["unknown"], "image_id"]
        rows = train.loc[train["image_id"].isin(unknown), "row_id"]
        labels = train["label"].mask(train["row_id"].isin(rows), label)
        train = train.assign(label=labels)
    classes = tables.classes
    if label not in classes:
        classes = (*classes, label)
    return replace(tables, train=train, classes=classes)


def as_scored(context: Context, contract: pd.DataFrame, columns: tuple[str, ...]) -> Context:
    """The competition as predictions with ``columns`` are scored: with unknown individuals.

    The same context where the run knows of none.
    """
    form = context.competition.submission
    label = None if form is None else form.unknown_label
    is_open = "unknown" in contract or columns != context.columns
    if label is None or label not in columns or not is_open:
        return context
    return replace(context, tables=replace_labels(context, contract, label))


def scored_context(context: Context, run: RunFolder) -> Context:
    """The competition as a finished run is scored; see ``as_scored``."""
    key = run.read_settings()["keys"]["split"]
    contract = read_frame(context.workspace.splits / key / "folds.parquet")
    return as_scored(context, contract, read_predictions(run.oof).columns)


def open_sets_of(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What result.json of a run that joins others holds of unknown individuals."""
    found = [result["unknown"] for result in results if "unknown" in result]
    if not found:
        return {}
    return {"unknown": {name: found[0][name] for name in ("label", "num_rows")}}


def open_fold_scores(
    seen: Context, oof: Predictions, contract: pd.DataFrame, metric: Metric
) -> list[float | None]:
    """The score of each fold's rows in the competition as it is scored; None if undefined."""
    row_of = seen.tables.train.set_index("image_id")["row_id"]
    validates = contract[contract["fold"] >= 0]
    fold_of = dict(zip(row_of.loc[validates["image_id"]], validates["fold"], strict=True))
    folds = np.array([fold_of[row] for row in oof.ids])
    truth = row_truth(seen, oof.ids)
    scores: list[float | None] = []
    for fold in np.unique(folds):
        inside = folds == fold
        try:
            scores.append(evaluate(metric, truth[inside], oof.values[inside]))
        except DataError:
            scores.append(None)
    return scores
