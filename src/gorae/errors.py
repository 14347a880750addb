"""What a user can mend, as exceptions; shown without a traceback.

Exception
└── UserError            exit 64   a wrong command, argument or state
    ├── ConfigError      exit 64   a setting that is wrong or has no effect here
    ├── DataError        exit 65   pictures or tables that cannot be used
    │   └── SubmissionError        a CSV that must not be sent
    ├── ResourceError    exit 71   not enough memory
    └── StorageError     exit 74   disk full, not writable, or a damaged file of ours
"""

from collections.abc import Sequence


class UserError(Exception):
    """Something the user can change. The message says what, where, and what to do."""

    exit_code = 64


class ConfigError(UserError):
    """A setting is wrong, unknown, or has no effect in this recipe."""


class DataError(UserError):
    """Pictures, tables or labels cannot be used as they are."""

    exit_code = 65


class SubmissionError(DataError):
    """A submission breaks the rules of its sample and was not written."""


class ResourceError(UserError):
    """This machine has too little memory for what was asked."""

    exit_code = 71


class StorageError(UserError):
    """The disk is full, a folder cannot be written, or one of our files is damaged."""

    exit_code = 74


def list_problems(problems: Sequence[str], *, shown: int = 20) -> str:
    """All problems as indented lines: the first ``shown``, then how many more there are."""
    lines = [f"  - {problem}" for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f"  ... and {len(problems) - shown} more")
    return "\n".join(lines)
