"""Step ``check``: any CSV held against the rules of the competition, offline."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gorae.errors import ConfigError, UserError
from gorae.pipeline.context import open_context
from gorae.pipeline.sample import expected_ids, read_sample
from gorae.submission import Finding, check_submission


@dataclass(frozen=True)
class CheckResult:
    """What is wrong with a submission."""

    file: Path
    findings: tuple[Finding, ...]

    @property
    def is_accepted(self) -> bool:
        """Whether it may be sent: warnings do not forbid it."""
        return all(finding.level != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "file": str(self.file),
            "accepted": self.is_accepted,
            "findings": [asdict(finding) for finding in self.findings],
        }


def check(folder: Path, *, file: Path) -> CheckResult:
    """Check a submission file; a file that breaks a rule is a result, not an exception.

    Raises:
        UserError: There is no such file.
        ConfigError: The competition has no form of a submission.
    """
    if not file.is_file():
        raise UserError(f"There is no file {file}.")
    context = open_context(folder)
    form = context.competition.submission
    if form is None:
        raise ConfigError(
            "competition.toml has no [submission]: say its id_column, columns and kind there."
        )
    sample = read_sample(context.workspace.folder, form)
    findings = check_submission(
        file,
        form=form,
        ids=expected_ids(context, sample, form),
        classes=context.tables.classes,
        task=context.competition.task,
    )
    return CheckResult(file, tuple(findings))
