"""One run by each of the four votes of the mask competition, with a submission of each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gorae.ensemble import fitting_votes
from gorae.errors import UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.pipeline.blend import Blend, blend
from gorae.pipeline.context import open_context
from gorae.pipeline.ensemble import ensemble
from gorae.pipeline.part_target import refuse_part
from gorae.pipeline.scores import competition_metric
from gorae.pipeline.submit import submit
from gorae.pipeline.voters import read_voters

# Source: iloveslowfood/ImageClassfication, whose files are called submission_ens_arithmetic,
# geometric, weighted_avg and hardvoting.
RECIPE_VOTES = ("arithmetic", "geometric", "weighted", "hard")


@dataclass(frozen=True)
class VotesResult:
    """The votes of one run, each with its checked submission."""

    votes: tuple[dict[str, Any], ...]
    """``vote``, ``run_id``, ``score``, ``interval`` and ``submission`` of each."""
    left_out: tuple[str, ...]
    """Votes that cannot join these predictions."""

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {"votes": list(self.votes), "left_out": list(self.left_out)}


def all_votes(
    folder: Path, *, run: str | None = None, on_event: OnEvent = ignore_events
) -> VotesResult:
    """Vote on a run in four ways and write a checked submission of each.

    The run's own vote stays the run; every other becomes a run of its own.
    """
    context = open_context(folder)
    trained = context.workspace.run(run)
    if "ensemble" in trained.read_settings():
        raise UserError(
            f"{trained.run_id} joins other runs and has no models to vote on anew. Name a run "
            "that was trained."
        )
    refuse_part(context, trained)
    own = ensemble(folder, run=trained.run_id, on_event=on_event)
    kind = next(iter(read_voters(trained.members()[0], "valid").values())).kind
    fitting = fitting_votes(kind, competition_metric(context))
    found = []
    for how in (name for name in RECIPE_VOTES if name in fitting):
        voted = own
        if how != own.result["vote"]:
            plan = Blend(how=how)
            voted = blend(folder, runs=[trained.run_id], plan=plan, on_event=on_event)
        sent = submit(folder, run=voted.run.run_id, on_event=on_event)
        found.append(
            {
                "vote": how,
                "run_id": voted.run.run_id,
                **{name: voted.result[name] for name in ("metric", "score", "interval")},
                "submission": str(sent.path),
            }
        )
    left_out = tuple(name for name in RECIPE_VOTES if name not in fitting)
    for name in left_out:
        text = f"vote {name} is left out: it cannot join predictions of kind {kind!r}"
        on_event(Event("warning", "ensemble", text))
    return VotesResult(tuple(found), left_out)
