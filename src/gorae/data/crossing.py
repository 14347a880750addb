"""What may not stand in two parts of a competition: pictures, rows, groups."""

from collections.abc import Sequence

import pandas as pd

from gorae.data.csv_text import at_rows


def cross_problems(labelled: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Faults between sources: a picture twice, a row in two parts, a row with two labels."""
    problems = []
    for column, what in (("path", "pictures"), ("row_id", "rows")):
        roles = labelled.groupby(column)["role"].nunique()
        shared = roles.index[roles > 1].tolist()
        if shared:
            problems.append(
                f"{len(shared)} {what} stand in more than one of train, holdout and extra: "
                f"{at_rows([str(name) for name in shared])}"
            )
    twice = labelled["image_id"].duplicated()
    if twice.any() and not problems:
        names = labelled.loc[twice, "path"].tolist()
        problems.append(f"{len(names)} pictures stand in two extra sources: {at_rows(names)}")
    rows = labelled[labelled["row_id"].duplicated(keep=False)]
    labels = rows["label"].map(repr).groupby(rows["row_id"]).nunique()
    torn = labels.index[labels > 1].tolist()
    if torn:
        problems.append(
            f"{len(torn)} rows have pictures with different labels: "
            f"{at_rows([str(row) for row in torn])}. A row has one label; choose another "
            "`row_column`"
        )
    both = sorted(set(labelled["path"]) & set(test["path"]))
    if both:
        problems.append(
            f"{len(both)} pictures are to be predicted and labelled at once: {at_rows(both)}. "
            "Check `images` of train and test"
        )
    return problems


def shared_groups(labelled: pd.DataFrame, groups: Sequence[str]) -> list[str]:
    """Groups that stand in train and in the given validation set at once, as problems."""
    problems = []
    for column in groups:
        by_role = {
            role: set(labelled.loc[labelled["role"] == role, column])
            for role in ("train", "holdout")
        }
        shared = sorted(by_role["train"] & by_role["holdout"])
        if shared:
            problems.append(
                f"{len(shared)} groups of {column} are in train and in the given validation "
                f"set: {at_rows(shared)}. Move each to one side, or drop the group column"
            )
    return problems
