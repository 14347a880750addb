"""Several processes for one command: how they are started, and which one this is.

``torchrun`` starts them and tells each in its environment who it is. Without torch, which
takes seconds to load.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from gorae.errors import ConfigError
from gorae.machine import num_cores

if TYPE_CHECKING:
    from gorae.config import Recipe

_PR_SET_PDEATHSIG = 1


class NeedsProcesses(ConfigError):  # noqa: N818 - the command line mends it
    """Several devices were named, and this process can use one of them."""

    def __init__(self, devices: str, number: int) -> None:
        super().__init__(
            f'train.devices = "{devices}" names {number} devices, which takes a process for '
            f"each: torchrun --standalone --nproc-per-node {number} -m gorae train FOLDER, "
            "with the other options as they are."
        )
        self.number = number


def is_launched() -> bool:
    """Whether torchrun started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_leader() -> bool:
    """Whether this process does the command; the others of a torchrun help it to train."""
    return not is_launched() or os.environ["RANK"] == "0"


def place_here() -> tuple[int, int]:
    """The number of this process among those of torchrun on this machine, and theirs."""
    return int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def require_processes(recipe: "Recipe") -> None:
    """Stop where a recipe names several devices and one process is to train on them.

    Raises:
        NeedsProcesses: That is so.
        ConfigError: There are no such devices.
    """
    if "," not in recipe.train.devices or recipe.model.use != "finetune" or is_launched():
        return
    # It loads torch.
    from gorae.pipeline.network import devices

    number = len(devices(recipe.train.devices))
    if number > 1:
        raise NeedsProcesses(recipe.train.devices, number)


def relaunch(arguments: Sequence[str], *, number: int) -> NoReturn:
    """Become a torchrun that does the same command in so many processes."""
    command = launch_command(arguments, number=number)
    sys.stdout.flush()
    sys.stderr.flush()
    # torchrun would give one core to what the first process does alone.
    environment = {"OMP_NUM_THREADS": str(num_cores()), **os.environ}
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own command


def launch_command(arguments: Sequence[str], *, number: int) -> list[str]:
    """The command line of that torchrun."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={number}"]
    return [sys.executable, *launcher, "-m", "gorae", *arguments]


def end_with_parent() -> None:
    """Let the system end this process when its torchrun is killed (TRUST R7)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
