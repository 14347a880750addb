"""What the sandbox of the scan costs: pictures per second in decode children and without.

The same work as in a scan (read, hash, decode, hash of the pixels, thumbnail, shrink, checksum)
by the same number of decoders, in turn: children under limits that hand the pixels over, as the
scan has them, and a plain process pool that keeps the pixels to itself. Processes are started
before the clock.
The children may cost 15 % at most (TRUST 3.2).

    python benchmarks/sandbox.py [FOLDER] [--pictures N] [--decoders N] [--turns N]
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from common import photographs
from gorae.data.decode import DecodePolicy
from gorae.data.decode_child import examine
from gorae.data.decode_pool import Answer, ChildSettings, examine_files
from gorae.machine import num_cores

LARGEST_COST = 0.15
SHORT_SIDE = 258


def settings(root: Path) -> ChildSettings:
    """What both ways do with a file."""
    return ChildSettings(
        root=root,
        policy=DecodePolicy(),
        short_side=SHORT_SIDE,
        interpolation="bicubic",
        timeout_s=10.0,
        has_thumbnails=True,
    )


def sandboxed_s(paths: list[bytes], root: Path, decoders: int) -> float:
    """Seconds for all pictures in decode children."""
    # The first answers of some warm-up pictures say that every child is there.
    warm = 4 * decoders
    answers: Generator[Answer, None, None] = examine_files(
        [*paths[:warm], *paths], settings(root), num_children=decoders
    )
    list(islice(answers, warm))
    started = time.perf_counter()
    done = sum(1 for _ in answers)
    assert done == len(paths)
    return time.perf_counter() - started


def examine_plainly(path: bytes, root: Path) -> int:
    """One picture in a process without limits; how many bytes of pixels it gave."""
    made = settings(root)
    examined = examine(
        path,
        root=made.root,
        policy=made.policy,
        short_side=made.short_side,
        interpolation=made.interpolation,
        has_thumbnail=made.has_thumbnails,
    )
    return int(examined[1].size)


def in_process_s(paths: list[bytes], root: Path, decoders: int) -> float:
    """Seconds for all pictures in as many plain processes."""
    with ProcessPoolExecutor(decoders, mp_context=get_context("spawn")) as pool:
        list(pool.map(examine_plainly, paths[: 4 * decoders], [root] * 4 * decoders))
        started = time.perf_counter()
        list(pool.map(examine_plainly, paths, [root] * len(paths), chunksize=8))
        return time.perf_counter() - started


def main() -> None:
    """Print pictures per second of both ways, and the ratio; fail above the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--decoders", type=int, default=num_cores())
    parser.add_argument("--turns", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if chosen.folder is None:
            found = photographs(Path(scratch), chosen.pictures)
        else:
            kinds = (".jpg", ".jpeg", ".png", ".dcm")
            files = (path for path in sorted(chosen.folder.rglob("*")) if path.is_file())
            found = [path for path in files if path.suffix.lower() in kinds]
            found = found[: chosen.pictures]
        if not found:
            sys.exit(f"There are no pictures in {chosen.folder}.")
        root = Path(os.path.commonpath([path.resolve().parent for path in found]))
        paths = [os.fsencode(path.resolve().relative_to(root)) for path in found]
        pairs = [
            (
                sandboxed_s(paths, root, chosen.decoders),
                in_process_s(paths, root, chosen.decoders),
            )
            for _ in range(chosen.turns)
        ]
    # The best turn of each way: what else runs on the machine only ever adds time.
    children_s, plain_s = (min(each) for each in zip(*pairs, strict=True))
    cost = children_s / plain_s - 1
    costs = sorted(children / plain - 1 for children, plain in pairs)
    print(f"{len(paths)} pictures, {chosen.decoders} decoders, best of {chosen.turns} turns")
    print(f"decode children:  {len(paths) / children_s:7.1f} pictures/s")
    print(f"plain processes:  {len(paths) / plain_s:7.1f} pictures/s")
    print(f"cost of children: {cost:7.1%} (turns {costs[0]:.1%} to {costs[-1]:.1%})")
    if cost > LARGEST_COST:
        sys.exit(f"The sandbox costs more than {100 * LARGEST_COST:.0f} %.")


if __name__ == "__main__":
    main()
