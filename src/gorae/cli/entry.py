"""The door of the command line: arguments in, exit code out."""

import sys
from collections.abc import Sequence

import typer
import typer.main

from gorae.cli.app import app
from gorae.cli.perform import discard_stdout, show_failure
from gorae.cli.stops import DISK, DONE, explain


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one command and return its exit code; ``arguments`` absent: those of the process."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(app)
    try:
        # Not typer's own start: it would turn every signal and mistake into its own codes.
        with command.make_context("gorae", given) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as leave:
        return leave.exit_code
    except BrokenPipeError:  # `gorae board | head`
        discard_stdout()
        return DISK
    except BaseException as error:  # noqa: BLE001 - the last place that can say what happened
        failure = explain(error, folder=None, is_debug="--debug" in given)
        show_failure(failure, as_json="--json" in given)
        return failure.exit_code
    return DONE
