"""Step ``init``: recognise the layout, say why, write competition.toml."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gorae.config import Competition, read_competition, write_competition
from gorae.data.layout import Question, Recognised, recognise
from gorae.eda.problem import propose_problem
from gorae.errors import DataError, UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.pipeline.context import open_context
from gorae.pipeline.problem import gather_facts, write_problem
from gorae.workspace import Workspace

Ask = Callable[[Question], str]


@dataclass(frozen=True)
class InitResult:
    """What was recognised and where it was written."""

    path: Path
    competition: Competition
    evidence: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "competition": str(self.path),
            "settings": self.competition.model_dump(mode="json", exclude_none=True),
            "evidence": list(self.evidence),
            "notes": list(self.notes),
        }


def init(
    folder: Path,
    *,
    encoding: str | None = None,
    answers: Mapping[str, str] | None = None,
    ask: Ask | None = None,
    phi: bool = False,
    on_event: OnEvent = ignore_events,
) -> InitResult:
    """Recognise the competition in ``folder`` and write its competition.toml.

    Args:
        folder: The competition as its organiser gave it; nothing in it is changed.
        encoding: Text encoding of the CSV files, where it is not UTF-8.
        answers: Answers to questions that are known beforehand, by their key.
        ask: Asks the user; None where nobody can be asked.
        phi: Let later steps read the personal fields of DICOM headers (names, dates).
        on_event: Hears what was recognised.

    Raises:
        UserError: There is no such folder, or it has a competition.toml already.
        DataError: Nothing was recognised, or a question stays open.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    workspace = Workspace(folder.resolve())
    target = workspace.competition_file
    if target.exists():
        raise UserError(
            f"{target} is there already and was left as it is. Edit it, or move it away to "
            "have the folder recognised again."
        )
    on_event(Event("stage", "init", f"recognising {workspace.folder.name}"))
    known = dict(answers or {})
    found = recognise(workspace.folder, encoding=encoding, answers=known)
    while found.questions:
        question = found.questions[0]
        if ask is None:
            raise DataError(_open_questions(found.questions))
        known[question.key] = ask(question)
        found = recognise(workspace.folder, encoding=encoding, answers=known)
    _require_used(workspace.folder, encoding, answers or {}, found)
    header = "What gorae recognised, and why:\n" + "\n".join(
        f"- {line}" for line in found.evidence
    )
    settings = {**found.settings, "phi": True} if phi else found.settings
    write_competition(target, settings, header=header)
    unwritten = _add_problem(workspace.folder)
    competition = read_competition(target)
    for line in found.evidence:
        on_event(Event("message", "init", line))
    notes = (*found.notes, *unwritten)
    for line in notes:
        on_event(Event("warning", "init", line))
    return InitResult(target, competition, tuple(found.evidence), notes)


def _add_problem(folder: Path) -> list[str]:
    """Write what is asked into competition.toml; a note where the tables do not tell yet."""
    try:
        context = open_context(folder, is_prepared=False)
    except DataError as error:
        return [f"[problem] was not written, as the tables cannot be read yet: {error}"]
    write_problem(context, propose_problem(gather_facts(context)))
    return []


def _require_used(
    folder: Path, encoding: str | None, answers: Mapping[str, str], found: Recognised
) -> None:
    """An answer nobody asked for would be dropped in silence.

    Raises:
        UserError: Without that answer the same is recognised.
    """
    unused = [
        key
        for key in answers
        if recognise(
            folder, encoding=encoding, answers={k: v for k, v in answers.items() if k != key}
        )
        == found
    ]
    if unused:
        raise UserError(
            f"Nothing asks for the answer {', '.join(unused)}. Leave it out; what is not asked "
            "is changed in competition.toml, once `gorae init` has written it."
        )


def _open_questions(questions: tuple[Question, ...]) -> str:
    lines = ["The folder can be read in more than one way. Say which with --answer:"]
    for question in questions:
        options = " | ".join(question.options)
        lines.append(f"  - {question.text}\n    --answer {question.key}={options}")
    return "\n".join(lines)
