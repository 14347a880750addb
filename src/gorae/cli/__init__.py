"""The command line: parse, call one step, print. The only place that prints."""

from gorae.cli.entry import main

__all__ = ["main"]
