"""What the processes of a torchrun do that are not the first: help it to train.

They open the run that the first made, from the same folder, and write nothing.
"""

import time
from pathlib import Path
from typing import Any

from gorae.config import Recipe
from gorae.pipeline.context import open_context
from gorae.pipeline.finetune import train_finetune
from gorae.pipeline.job import open_job
from gorae.pipeline.network import load_network
from gorae.pipeline.part_target import as_target
from gorae.pipeline.together import assisted
from gorae.stopping import Stopping, never_stopped
from gorae.training.group import Group, hear_call, joined, open_store


def assist(*, stopping: Stopping = never_stopped) -> None:
    """Take part in each training of the first process, until it has no more.

    Args:
        stopping: How it is asked to stop; all processes then do, at the same step.

    Raises:
        UserError: What the first process would raise, or that it ended.
    """
    store, number = open_store(), 1
    while (call := hear_call(store, number)) is not None:
        with joined(store, number, uses_gpu=call["uses_gpu"]) as group:
            _take_part(call, group, stopping)
        number += 1


def _take_part(call: dict[str, Any], group: Group, stopping: Stopping) -> None:
    recipe = Recipe.model_validate(call["recipe"])
    context = as_target(open_context(Path(call["folder"])), recipe.target)
    loaded = load_network(context, recipe)
    left_s = call["left_s"]
    job = open_job(
        context,
        recipe,
        loaded,
        context.workspace.run(call["run"]),
        deadline=None if left_s is None else time.monotonic() + left_s,
        stopping=stopping,
    )
    train_finetune(assisted(job, group), loaded)
