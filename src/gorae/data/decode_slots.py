"""Memory that a decode child and its parent share, so that pixels need no pipe.

A pipe costs two copies and an allocation for each answer, on the cores that decode. A child
writes the pixels of its n-th answer into slot ``n % NUM_SLOTS`` instead. It is never handed
more than NUM_SLOTS files that are not answered and done with, so a slot is free whenever its
turn comes, and nobody has to say so.
"""

import fcntl
import mmap
import os
import sys

NUM_SLOTS = 4
"""Files that a child may hold: one it works on, and those it takes next without waiting."""

# A stored picture of 720 x 960 pixels; memory is taken only as far as it is written to.
_SLOT_BYTES = 1 << 21


def create_slots() -> int | None:
    """A descriptor of the memory; None where the system has no such memory to give."""
    if sys.platform != "linux":
        return None
    descriptor = os.memfd_create("gorae-pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, NUM_SLOTS * _SLOT_BYTES)
    # Reading memory that a child has cut off would end the parent.
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def map_slots(descriptor: int | None, *, is_writable: bool) -> list[memoryview]:
    """The slots, NUM_SLOTS of equal length; of no bytes where there is no memory."""
    if descriptor is None:
        return [memoryview(b"")] * NUM_SLOTS
    access = mmap.ACCESS_WRITE if is_writable else mmap.ACCESS_READ
    memory = memoryview(mmap.mmap(descriptor, NUM_SLOTS * _SLOT_BYTES, access=access))
    return [memory[n * _SLOT_BYTES : (n + 1) * _SLOT_BYTES] for n in range(NUM_SLOTS)]
