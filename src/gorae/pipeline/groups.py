"""Which pictures must stay together: rows, subjects, equal and nearly equal pictures."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.pipeline.context import Context
from gorae.splits import join_groups

Groups = NDArray[np.int64]


def subject_groups(context: Context, table: pd.DataFrame) -> Groups:
    """Rows and what the competition's group columns say, joined, (N,)."""
    return join_groups(table["row_id"], *(table[c] for c in context.tables.group_columns))


def equal_groups(context: Context, table: pd.DataFrame, scan: pd.DataFrame) -> Groups:
    """As ``subject_groups``, with pictures equal by bytes or pixels joined to them, (N,)."""
    hashes = scan.loc[table["image_id"]]
    return join_groups(
        subject_groups(context, table),
        hashes["sha256"].reset_index(drop=True),
        hashes["pixel_sha256"].reset_index(drop=True),
    )


def look_alike_groups(groups: Groups, image_ids: pd.Series, pairs: pd.DataFrame) -> Groups:
    """``groups`` with nearly equal pictures joined to them, (N,).

    Args:
        groups: Group of each image, (N,).
        image_ids: Their ids, N.
        pairs: Columns ``first`` and ``second``: ids; pairs with others are passed over.
    """
    row_of = {image_id: row for row, image_id in enumerate(image_ids)}
    known = pairs[pairs["first"].isin(row_of) & pairs["second"].isin(row_of)]
    first, second = known["first"].map(row_of), known["second"].map(row_of)
    # One column per link would be as many columns: both ends of a link become rows of a
    # longer table that share the link's number, and every image shares its row's number.
    num_images, num_links = len(groups), len(known)
    rows = np.concatenate([np.arange(num_images), first, second]).astype(np.int64)
    links = np.concatenate([np.full(num_images, -1), *[np.arange(num_links)] * 2])
    column = pd.Series(links, dtype=object).where(links >= 0, None)
    return join_groups(groups[rows], rows, column)[:num_images]
