"""How many rows, pictures and labels a competition has: shared by the pages."""

import pandas as pd

from gorae.pipeline.context import Context, usable
from gorae.report.page import PartCount

ROLES = ("train", "holdout", "extra")


def part_counts(context: Context, scan: pd.DataFrame) -> tuple[PartCount, ...]:
    """Rows and pictures of each part that is there.

    Args:
        context: The competition.
        scan: Indexed by ``image_id``.
    """
    train = context.tables.train
    frames = {role: train[train["role"] == role] for role in ROLES}
    frames["test"] = context.tables.test
    return tuple(
        PartCount(
            part=part,  # type: ignore[arg-type]  # the roles of the tables are the parts
            num_rows=int(frame["row_id"].nunique()),
            num_images=len(frame),
            num_quarantined=int((~usable(scan, frame["image_id"])).sum()),
        )
        for part, frame in frames.items()
        if len(frame)
    )


def class_counts(context: Context) -> pd.DataFrame:
    """Column ``class``, then a count of pictures per role; classes in their order."""
    exploded = context.tables.train[["label", "role"]].explode("label").dropna()
    counts = pd.crosstab(exploded["label"], exploded["role"])
    counts = counts.reindex(list(context.tables.classes), fill_value=0)
    return counts.rename_axis("class").reset_index()
