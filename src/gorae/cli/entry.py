"""The door of the command line: arguments in, exit code out."""

import sys
from collections.abc import Sequence

import typer
import typer.main

from gorae.cli.app import app
from gorae.cli.launched import follow, leading
from gorae.cli.perform import clean_stdout, discard_stdout, show_failure
from gorae.cli.stops import DISK, DONE, explain, stop_of, stop_signals
from gorae.pipeline.launch import NeedsProcesses, is_leader, relaunch


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one command and return its exit code; ``arguments`` absent: those of the process."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not is_leader():
        return _follow(is_debug="--debug" in given)
    with leading():
        return _main(given)


def _follow(*, is_debug: bool) -> int:
    """What a process does that torchrun started beside the one that does the command."""
    with stop_signals() as (seen, stopping):
        try:
            with clean_stdout(is_needed=True):
                follow(stopping)
        except BaseException as error:  # noqa: BLE001 - the last place that can say it
            cause = stop_of(seen[0]) if seen else error
            failure = explain(cause, folder=None, is_debug=is_debug)
            show_failure(failure, as_json=False)
            return failure.exit_code
    return DONE


def _main(given: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        # Not typer's own start: it would turn every signal and mistake into its own codes.
        with command.make_context("gorae", given) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as leave:
        return leave.exit_code
    except NeedsProcesses as needs:
        relaunch(given, number=needs.number)
    except BrokenPipeError:  # `gorae board | head`
        discard_stdout()
        return DISK
    except BaseException as error:  # noqa: BLE001 - the last place that can say what happened
        failure = explain(error, folder=None, is_debug="--debug" in given)
        show_failure(failure, as_json="--json" in given)
        return failure.exit_code
    return DONE
