"""A command in several processes: the first does it, the others help it to train."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gorae.pipeline.launch import end_with_parent, is_launched
from gorae.stopping import Stopping


@contextmanager
def leading() -> Iterator[None]:
    """Within it the other processes wait to be called; at its end they are let go."""
    if not is_launched():
        yield
        return
    end_with_parent()
    from gorae.training.group import call_others, open_store

    store = open_store()
    try:
        yield
    finally:
        # Where nobody is there any more, nobody waits.
        with suppress(RuntimeError):
            call_others(store, None)


def follow(stopping: Stopping) -> None:
    """Help the first process until it lets this one go."""
    end_with_parent()
    from gorae.pipeline.assist import assist

    assist(stopping=stopping)


def is_spokesman() -> bool:
    """Whether this process tells why all end: the first that fails knows best."""
    if not is_launched():
        return True
    from gorae.training.group import is_first_to_fail, open_store

    try:
        return is_first_to_fail(open_store())
    except RuntimeError:
        return True
