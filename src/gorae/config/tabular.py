"""Settings of models of tables."""

from pydantic import Field

from gorae.config.base import Settings


class TabularSettings(Settings):
    """[tabular]: boosted trees on metadata and on what other runs say."""

    columns: tuple[str, ...] | None = None
    """Columns of metadata; absent: all that both tables have. Ids and texts are left out."""
    scores: tuple[str, ...] = ()
    """Runs on the same folds whose predictions are features: out of fold for train rows, of the
    test set for test rows."""
    top_ranks: int = Field(0, ge=0)
    """Likeliest classes whose ranks are features too, for each of these runs; 0: none."""
    groups: tuple[str, ...] = ()
    """Columns such as the patient: scores relative to those of the group are features, and the
    size of groups that no fold cuts. ``site+sex``: groups equal in both columns."""
    rounds: int = Field(1000, ge=1, le=100_000)
    """Trees per class at most."""
    patience: int = Field(50, ge=1)
    """Trees without a smaller loss, on groups kept out inside the train part, after which no
    more are tried."""
    learning_rate: float = Field(0.03, gt=0, le=1)
    """Share of each tree's answer that is taken."""
    leaves: int = Field(7, ge=2, le=1024)
    """Leaves of a tree at most."""
    min_leaf_rows: int | None = Field(None, ge=1)
    """Images in a leaf at least; absent: 2 % of the train part, from 5 to 100."""
    row_share: float = Field(1.0, gt=0, le=1)
    """Share of the images that each tree is fitted to."""
    column_share: float = Field(1.0, gt=0, le=1)
    """Share of the features that each tree may use."""
