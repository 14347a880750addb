"""What trees are fitted to: metadata, what other runs say, groups, and the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.data.sources import META_PREFIX
from gorae.errors import ConfigError, UserError, list_problems
from gorae.events import Event, OnEvent
from gorae.files import content_key, sha256_bytes, sha256_file
from gorae.pipeline.context import Context, labels_key
from gorae.pipeline.contract import Split
from gorae.pipeline.job import train_table
from gorae.tabular import (
    Features,
    encode_columns,
    fit_columns,
    join_features,
    relative_features,
    score_features,
)
from gorae.workspace import RunFolder, read_predictions

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Grouping:
    """Images that belong together, such as those of a patient."""

    name: str
    train: NDArray[np.object_]
    """Group of each image of ``TabularData.train``; "" for none."""
    test: NDArray[np.object_]
    is_whole: bool
    """Whether no fold cuts one."""


@dataclass(frozen=True)
class TabularData:
    """All that the folds are cut from."""

    train: pd.DataFrame
    """Usable train images: ``image_id``, ``row_id``, ``role``, ``group``."""
    test: pd.DataFrame
    """Test images: ``image_id``, ``row_id``; a picture that cannot be read has a row all the
    same."""
    train_cells: pd.DataFrame
    """Metadata of ``train``, as text."""
    test_cells: pd.DataFrame
    train_scores: Features
    """What other runs say of the images of ``train``, out of fold."""
    test_scores: Features
    """What the same runs say of the images of ``test``."""
    groups: tuple[Grouping, ...]
    truth: NDArray[Any]
    weights: NDArray[np.float64]
    """Of the images of ``train``, from corrections."""


def metadata_columns(context: Context, recipe: Recipe, on_event: OnEvent) -> list[str]:
    """Columns of metadata that are looked at: those both tables have, or those asked for.

    What only the train table knows cannot be asked of a test row: such columns often come of
    the label.
    """
    train, test = context.tables.train, context.tables.test
    known = [str(name) for name in train.columns if str(name).startswith(META_PREFIX)]
    common = [name for name in known if not len(test) or name in test.columns]
    wanted = recipe.tabular.columns
    if wanted is None:
        missing = [name.removeprefix(META_PREFIX) for name in known if name not in common]
        if missing:
            text = f"the test table lacks {', '.join(missing)}: left out of the features"
            on_event(Event("warning", "train", text))
        return common
    return _named(wanted, common, setting="tabular.columns")


def _named(wanted: Sequence[str], common: Sequence[str], *, setting: str) -> list[str]:
    names = [META_PREFIX + name for name in wanted]
    if bad := [name.removeprefix(META_PREFIX) for name in names if name not in common]:
        known = ", ".join(name.removeprefix(META_PREFIX) for name in common)
        raise ConfigError(
            f"{setting} names {', '.join(bad)}, which the train and test tables do not both "
            f"have. Columns of both: {known or 'none'}."
        )
    return names


def score_runs(context: Context, recipe: Recipe, made: Split) -> list[RunFolder]:
    """The runs of ``tabular.scores``, finished and made on these very folds and labels."""
    runs = [context.workspace.run(name) for name in recipe.tabular.scores]
    now = {"split": made.key, "labels": labels_key(context)}
    called = {"split": "folds", "labels": "labels"}
    problems = []
    for run in runs:
        if run.read_result() is None:
            problems.append(f"{run.run_id} is unfinished; `gorae run` goes on with it")
            continue
        keys = run.read_settings()["keys"]
        problems += [
            f"{run.run_id} was trained on other {called[name]} than this recipe has "
            f"({keys[name]}, not {value})"
            for name, value in now.items()
            if keys[name] != value
        ]
        if read_predictions(run.oof).columns != context.columns:
            problems.append(f"{run.run_id} predicts other classes")
    names = [run.run_id for run in runs]
    problems += [
        f"{name} is named twice" for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    if problems:
        raise UserError(
            f"tabular.scores cannot be used:\n{list_problems(problems)}\nA prediction is out "
            "of fold only on the folds it was made with. Take over the [split] of those runs, "
            "or train them again on this one."
        )
    if runs and recipe.tabular.top_ranks > len(context.columns):
        raise ConfigError(
            f"tabular.top_ranks = {recipe.tabular.top_ranks} is more than the "
            f"{len(context.columns)} columns there are."
        )
    return runs


def read_data(
    context: Context,
    recipe: Recipe,
    scan: pd.DataFrame,
    made: Split,
    columns: Sequence[str],
    sources: Sequence[RunFolder],
) -> TabularData:
    """Gather the images, their metadata, and what other runs say of them.

    Raises:
        ConfigError: There is neither metadata nor a run, or no such column of a group.
    """
    train = train_table(context, recipe, scan, made).drop(columns="sha256")
    test = context.tables.test[["image_id", "row_id"]].reset_index(drop=True)
    place = pd.Index(context.tables.train["image_id"]).get_indexer(train["image_id"])
    lines = context.tables.train.iloc[place].reset_index(drop=True)
    test_lines = context.tables.test.reset_index(drop=True)
    cells, test_cells = lines[list(columns)], test_lines.reindex(columns=list(columns))
    if not columns and not sources:
        raise ConfigError(
            "There is no metadata that train and test table both have, and tabular.scores "
            "names no run: trees have nothing to look at."
        )
    given = context.weights
    weights = np.ones(len(train)) if given is None else given.loc[train["image_id"]]
    return TabularData(
        train=train,
        test=test,
        train_cells=cells,
        test_cells=test_cells,
        train_scores=_scores(recipe, sources, train["row_id"]),
        test_scores=_scores(recipe, sources, test["row_id"], is_test=len(test) > 0),
        groups=tuple(
            _group(name, lines, test_lines, made)
            for name in dict.fromkeys(recipe.tabular.groups)
        ),
        truth=context.truth[place],
        weights=np.asarray(weights, np.float64),
    )


def _scores(
    recipe: Recipe,
    sources: Sequence[RunFolder],
    row_ids: "pd.Series[Any]",
    *,
    is_test: bool = False,
) -> Features:
    """What each run says of the rows: its own test predictions go with its own out of fold."""
    none = Features((), np.zeros((len(row_ids), 0)), np.zeros(0, bool))
    parts = [
        score_features(
            read_predictions(run.test if is_test else run.oof),
            row_ids.to_numpy(object),
            name=run.run_id.partition("-")[0],
            top_ranks=recipe.tabular.top_ranks,
        )
        for run in sources
    ]
    return join_features([none, *parts])


def _group(name: str, train: pd.DataFrame, test: pd.DataFrame, made: Split) -> Grouping:
    """The groups of the images of a column, or of several joined by ``+``."""
    known = [str(c) for c in train.columns if not len(test) or c in test.columns]
    parts = [name] if META_PREFIX + name in known else name.split("+")
    columns = _named(parts, known, setting="tabular.groups")
    keys, test_keys = _joined(train, columns), _joined(test.reindex(columns=columns), columns)
    fold_of = made.folds[made.folds["fold"] >= 0]
    group_of = dict(zip(train["image_id"], keys, strict=True))
    torn = fold_of.assign(key=fold_of["image_id"].map(group_of))
    counts = torn[torn["key"] != ""].groupby(["repeat", "key"])["fold"].nunique()
    return Grouping(name, keys, test_keys, is_whole=bool((counts <= 1).all()))


def _joined(table: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.object_]:
    """One text per line; "" where a cell is empty."""
    cells = table[list(columns)].fillna("").astype("str").map(str.strip)
    texts = cells.agg("\x1f".join, axis=1) if len(cells) else pd.Series(dtype="str")
    joined: NDArray[np.object_] = texts.mask((cells == "").any(axis=1), "").to_numpy(object)
    return joined


def fold_features(
    data: TabularData, train: Mask, valid: Mask
) -> tuple[Features, Features, Features]:
    """Features of the train part of a fold, of what validates in it, and of the test set.

    Categories are numbered as the train part has them, and each of the three stands among its
    like: no image of one moves a feature of another, and no label is looked at.

    Args:
        data: From ``read_data``.
        train: The train part, a mask over ``data.train``.
        valid: What validates, another.
    """
    codes = fit_columns(data.train_cells[train])
    everything = np.ones(len(data.test), bool)

    def of(cells: pd.DataFrame, scores: Features, rows: Mask, *, is_test: bool) -> Features:
        chosen = scores.select(rows)
        parts = [encode_columns(cells[rows], codes), chosen]
        for group in data.groups:
            keys = (group.test if is_test else group.train)[rows]
            parts.append(
                relative_features(chosen, keys, name=group.name, with_size=group.is_whole)
            )
        return join_features(parts)

    return (
        of(data.train_cells, data.train_scores, train, is_test=False),
        of(data.train_cells, data.train_scores, valid, is_test=False),
        of(data.test_cells, data.test_scores, everything, is_test=True),
    )


def data_key(data: TabularData, sources: Sequence[RunFolder]) -> str:
    """A hash of everything that the features are made of."""
    frames = [
        data.train.join(data.train_cells),
        data.test.join(data.test_cells),
        *(pd.DataFrame({"key": keys}) for g in data.groups for keys in (g.train, g.test)),
    ]
    digests = [sha256_bytes(frame.to_csv(index=False).encode("utf-8")) for frame in frames]
    said = [
        [run.run_id, *(sha256_file(path) for path in (run.oof, run.test) if path.exists())]
        for run in sources
    ]
    return content_key([1, digests, said, data.weights.tolist()])
