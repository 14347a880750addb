"""``python -m gorae`` and the command ``gorae``."""

import atexit
import os
import sys


def run() -> int:
    """Do the command of this process and return its exit code."""
    codes: list[int] = []
    # Registered before anything is imported, so that it is called after all else.
    atexit.register(_leave, codes)
    from gorae.cli import main

    codes.append(main())
    return codes[0]


def _leave(codes: list[int]) -> None:
    """End at once: taking the modules of torch apart would take more than a second."""
    if codes:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(codes[0])


if __name__ == "__main__":
    sys.exit(run())
