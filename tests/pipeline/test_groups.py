"""Look-alikes join groups as a union of sets does."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from gorae.pipeline.groups import look_alike_groups

PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12)


@given(groups=st.lists(st.integers(0, 5), min_size=10, max_size=10), pairs=PAIRS)
def test_images_are_together_where_a_path_of_links_or_groups_joins_them(
    groups: list[int], pairs: list[tuple[int, int]]
) -> None:
    ids = [f"i{n}" for n in range(10)]
    named = pd.DataFrame(
        {"first": [ids[a] for a, _ in pairs], "second": [ids[b] for _, b in pairs]}
    )
    # A picture that is not asked about joins nothing.
    outside = pd.DataFrame({"first": ["i0"], "second": ["elsewhere"]})
    found = look_alike_groups(
        np.array(groups), pd.Series(ids), pd.concat([named, outside], ignore_index=True)
    )
    parent = list(range(10))

    def root(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    for a in range(10):
        for b in range(10):
            if groups[a] == groups[b] or (a, b) in pairs:
                parent[root(a)] = root(b)
    for a in range(10):
        for b in range(10):
            assert (found[a] == found[b]) == (root(a) == root(b))
