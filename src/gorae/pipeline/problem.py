"""The problem definition: filled from the data, kept in competition.toml, asked of the user.

gorae adds the block once, at the end of the file and only where there is none. What stands in
the file is never changed: what the data show later is told beside it.
"""

import json
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import tomli_w
from numpy.typing import NDArray

from gorae.augment.names import expand_views
from gorae.augment.plan import SETTABLE, resolve_augment
from gorae.config import Competition, Recipe
from gorae.config.effects import dead_settings
from gorae.config.problem import Problem
from gorae.config.reading import validated
from gorae.data.sources import META_PREFIX
from gorae.data.store import PixelStore
from gorae.data.thumbnail import thumbnail
from gorae.eda.augmentation import Current, Proposal, augmentation_proposals
from gorae.eda.problem import (
    QUESTIONS,
    Answer,
    Finding,
    ProblemFacts,
    Question,
    answers_of,
    is_device_column,
    propose_problem,
)
from gorae.files import write_bytes
from gorae.pipeline.context import Context
from gorae.report.problem_texts import problem_text
from gorae.report.texts import Text

Origin = Literal["user", "data", "open"]

# More pictures make shares of them no surer than they need to be.
MOST_PICTURES = 512

_SHOWN_CLASSES = 6
_COMMENT_WIDTH = 96


@dataclass(frozen=True)
class QuestionLine:
    """One question of the problem definition."""

    question: Question
    text: Text
    answer: Answer
    origin: Origin
    """Who answered: the user, the data, or nobody yet."""
    evidence: tuple[Text, ...]
    """What the data show, whoever answered."""


@dataclass(frozen=True)
class ProposalLine:
    """A setting of the recipe that follows from the answers."""

    setting: str
    value: str
    """As written in TOML; ``--set SETTING=VALUE`` takes it."""
    reasons: tuple[Text, ...]


@dataclass(frozen=True)
class ProblemSummary:
    """The problem definition, for pages and programs."""

    words: tuple[tuple[Text, str], ...]
    """Problem, input, output and use: label and text, which may be empty."""
    questions: tuple[QuestionLine, ...]
    proposals: tuple[ProposalLine, ...]

    def to_json(self) -> dict[str, Any]:
        """The summary, for programs; texts in English."""
        return {
            "words": {label.en: words for label, words in self.words},
            "questions": {
                line.question: {
                    "answer": line.answer,
                    "origin": line.origin,
                    "evidence": [text.en for text in line.evidence],
                }
                for line in self.questions
            },
            "proposals": [
                {
                    "setting": line.setting,
                    "value": line.value,
                    "reasons": [text.en for text in line.reasons],
                }
                for line in self.proposals
            ],
        }


def gather_facts(
    context: Context,
    *,
    scan: pd.DataFrame | None = None,
    pictures: NDArray[np.uint8] | None = None,
    boxes: NDArray[np.float64] | None = None,
) -> ProblemFacts:
    """What is known of a competition's data; what is not given was not looked at.

    Args:
        context: The competition.
        scan: Its scan, with the columns of ``data.scan.SCAN_COLUMNS``.
        pictures: Small copies of some pictures, (N, S, S, 3); see ``small_pictures``.
        boxes: (left, top, right, bottom) of objects as shares of the picture, (N, 4).
    """
    num_turned = num_sizes = 0
    if scan is not None:
        good = scan[scan["verdict"] != "quarantined"]
        num_turned = int((good["orientation"] > 1).sum())
        num_sizes = len(good[["width_px", "height_px"]].drop_duplicates())
    return ProblemFacts(
        classes=context.tables.classes,
        pictures=pictures,
        devices=_devices(context),
        num_turned=num_turned,
        num_sizes=num_sizes,
        boxes=boxes,
    )


def _devices(context: Context) -> dict[str, int]:
    """Different values of each column that names cameras or devices, train and test."""
    found: dict[str, set[str]] = {}
    for table in (context.tables.train, context.tables.test):
        for column in map(str, table.columns):
            name = column.removeprefix(META_PREFIX)
            if name != column and is_device_column(name):
                found.setdefault(name, set()).update(map(str, table[column].unique()))
    counts = {name: len(values - {""}) for name, values in found.items()}
    return {name: count for name, count in counts.items() if count}


def small_pictures(
    pixels: PixelStore, hashes: Sequence[str], *, most: int = MOST_PICTURES
) -> NDArray[np.uint8]:
    """Small copies, (N, S, S, 3), of at most ``most`` pictures, evenly over ``hashes``."""
    places = np.linspace(0, len(hashes) - 1, min(most, len(hashes))).round().astype(np.int64)
    return np.stack([thumbnail(pixels.read(hashes[place])) for place in places.tolist()])


def write_problem(context: Context, findings: Sequence[Finding]) -> bool:
    """Add the block to competition.toml unless it has one; what is there stays byte by byte.

    Returns:
        Whether it was added.

    Raises:
        StorageError: The file cannot be written.
    """
    path = context.workspace.competition_file
    data = path.read_bytes()
    text = data.decode("utf-8-sig")
    if "problem" in tomllib.loads(text):
        return False
    block = problem_block(context, findings)
    newline = "\r\n" if "\r\n" in text else "\n"
    gap = "\n" if text.endswith("\n") or not text else "\n\n"
    added = (gap + block).replace("\n", newline).encode("utf-8")
    # Nobody's settings are lost to a mistake of ours.
    validated(Competition, tomllib.loads(text + gap + block), origin=str(path))
    write_bytes(path, data + added)
    return True


def problem_block(context: Context, findings: Sequence[Finding]) -> str:
    """The block as text: what the data tell, each question with its meaning and evidence."""
    lines = [
        *_comment(
            "What is asked, and what the pictures are like. Edit it: gorae never overwrites "
            'it. Answers are "yes", "no" or "unknown"; `gorae eda` proposes augmentation by '
            "them."
        ),
        "[problem]",
    ]
    for name, words in _words(context).items():
        lines += [*_comment(_meaning(name)), tomli_w.dumps({name: words}).strip()]
    answers = answers_of(findings)
    for question in QUESTIONS:
        seen = [_evidence(each).en for each in findings if each.question == question]
        lines += ["", *_comment(_meaning(question))]
        lines += [part for text in seen for part in _comment(f"Seen: {text}")]
        lines.append(f'{question} = "{answers[question]}"')
    return "\n".join(lines) + "\n"


def _meaning(name: str) -> str:
    return " ".join((Problem.model_fields[name].description or "").split())


def _comment(text: str) -> list[str]:
    # Names of classes and columns may hold line ends.
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return [f"# {line}" for line in textwrap.wrap(shown, _COMMENT_WIDTH - 2)]


def _words(context: Context) -> dict[str, str]:
    """Problem, input and output as far as the tables tell; the use is the user's to say."""
    tables, task = context.tables, context.competition.task
    names, more = list(tables.classes[:_SHOWN_CLASSES]), len(tables.classes) - _SHOWN_CLASSES
    listed = ", ".join(names) + (f" and {more} more" if more > 0 else "")
    number = len(tables.classes)
    questions = {
        "multiclass": f"Which of {number} classes is it: {listed}?",
        "multilabel": f"Which of {number} labels apply: {listed}?",
        "ordinal": f"Which of {number} ordered classes is it: {listed}?",
        "regression": "What number belongs to it?",
    }
    outputs = {
        "multiclass": "one class",
        "multilabel": "any number of labels",
        "ordinal": "one of the ordered classes",
        "regression": "a number",
    }
    rows, images = tables.train["row_id"].nunique(), len(tables.train)
    given = (
        "one picture" if rows == images else f"the pictures of a row ({images:,} in {rows:,})"
    )
    return {
        "question": questions[task],
        "input": f"{given}; {images:,} to learn from, {len(tables.test):,} to answer",
        "output": f"{outputs[task]} per row, scored by {context.competition.metric}",
        "use": "",
    }


def _evidence(finding: Finding) -> Text:
    return problem_text(f"finding.{finding.reason}", finding.values)


def summarise_problem(
    context: Context, *, recipe: Recipe, facts: ProblemFacts
) -> ProblemSummary:
    """The user's answers, what the data show, and which settings of ``recipe`` follow."""
    given = context.competition.problem
    findings = propose_problem(facts)
    own = given.answers if given is not None else {}
    answers = answers_of(findings, own)
    # As far as nothing was written, what would be.
    words = _words(context)
    if given is not None:
        words = {name: getattr(given, name) for name in words}
    is_grey = any(each.reason == "all_grey" for each in findings)
    proposals = augmentation_proposals(answers, current_augment(recipe, is_grey=is_grey))
    return ProblemSummary(
        words=tuple((problem_text(f"field.{name}"), text) for name, text in words.items()),
        questions=tuple(
            QuestionLine(
                question,
                problem_text(question),
                answers[question],
                _origin(own.get(question, "unknown"), answers[question]),
                tuple(_evidence(each) for each in findings if each.question == question),
            )
            for question in QUESTIONS
        ),
        proposals=tuple(
            ProposalLine(
                each.setting,
                inline_toml(each.value),
                tuple(problem_text(f"reason.{reason}") for reason in each.reasons),
            )
            for each in effective(recipe, proposals)
        ),
    )


def _origin(given: Answer, answer: Answer) -> Origin:
    if given != "unknown":
        return "user"
    return "data" if answer != "unknown" else "open"


def current_augment(recipe: Recipe, *, is_grey: bool) -> Current:
    """What ``recipe`` does to its pictures now."""
    settings = recipe.augment
    plan = resolve_augment(settings.policy, settings.model_dump(include=set(SETTABLE)))
    return Current(
        hflip=plan.hflip,
        vflip=plan.vflip,
        transpose=plan.transpose,
        scale=plan.scale,
        rand_ops=plan.rand_ops,
        transforms=settings.transforms or (),
        turn_deg=plan.affine.rotate_deg if plan.affine is not None else 0.0,
        has_light=plan.shift.p > 0 or plan.gain.p > 0,
        views=expand_views(recipe.predict.views),
        is_grey=is_grey,
    )


def effective(recipe: Recipe, proposals: Sequence[Proposal]) -> list[Proposal]:
    """The proposals that change something: with a frozen backbone nothing is augmented.

    Each is checked as if a user had set it.
    """
    return [
        each
        for each in proposals
        if not dead_settings(with_setting(recipe, each.setting, each.value), [each.setting])
    ]


def with_setting(recipe: Recipe, name: str, value: Any) -> Recipe:
    """``recipe`` with one setting changed, by its dotted name."""
    section, _, field = name.partition(".")
    table = recipe.model_dump(mode="json", exclude_unset=True)
    table.setdefault(section, {})[field] = value
    return validated(Recipe, table, origin="the recipe")


def inline_toml(value: Any) -> str:
    """A value on one line of TOML, tables as ``{key = value}``."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {inline_toml(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(inline_toml, value))}]"
    # Text, numbers, true and false are written alike in both.
    return json.dumps(value, ensure_ascii=False)
