"""One predictions made of many."""

from gorae.ensemble.oof import HeldOut, assemble_oof, vote_oof
from gorae.ensemble.paired import Difference, paired_differences
from gorae.ensemble.selection import CHOOSERS, MOST_SUBSET_MEMBERS, NestedVote, nested_vote
from gorae.ensemble.subtask import subtask_vote
from gorae.ensemble.votes import (
    VOTE_NAMES,
    VOTES,
    fitting_votes,
    percentile_ranks,
    require_vote,
    soft_vote,
    vote,
)
from gorae.ensemble.weights import score_weights

__all__ = [
    "CHOOSERS",
    "MOST_SUBSET_MEMBERS",
    "VOTES",
    "VOTE_NAMES",
    "Difference",
    "HeldOut",
    "NestedVote",
    "assemble_oof",
    "fitting_votes",
    "nested_vote",
    "paired_differences",
    "percentile_ranks",
    "require_vote",
    "score_weights",
    "soft_vote",
    "subtask_vote",
    "vote",
    "vote_oof",
]
