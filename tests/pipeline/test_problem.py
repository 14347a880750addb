"""The problem definition in a competition: written once, never rewritten, always usable."""

import itertools
import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gorae.augment.plan import POLICIES
from gorae.config import read_competition, resolve_recipe
from gorae.data.pixels import PixelSpec
from gorae.eda.augmentation import augmentation_proposals
from gorae.eda.problem import QUESTIONS, Answer, ProblemFacts, Question, propose_problem
from gorae.pipeline.context import Context, open_context
from gorae.pipeline.init import init
from gorae.pipeline.learning import first_change
from gorae.pipeline.pixels import prepare
from gorae.pipeline.problem import (
    current_augment,
    effective,
    gather_facts,
    inline_toml,
    problem_block,
    small_pictures,
    summarise_problem,
    with_setting,
    write_problem,
)
from gorae.report.problem_texts import PROBLEM_TEXTS

SPEC = PixelSpec((0.5,) * 3, (0.5,) * 3, 32, "bilinear", 1.0)
TINY = ("model.name=lenet5", "model.weights=none", "pixels.input_size=32")


@pytest.fixture
def context(make_competition: Callable[..., Path]) -> Context:
    folder = make_competition()
    path = folder / "competition.toml"
    init(folder)
    path.write_bytes(path.read_bytes().split(b"\n# What is asked")[0])
    return open_context(folder)


def test_the_block_is_added_once_and_nothing_else_changes(context: Context) -> None:
    path = context.workspace.competition_file
    before = path.read_bytes() + "# 제 메모".encode()
    path.write_bytes(before)
    findings = propose_problem(ProblemFacts(classes=("left", "right")))
    assert write_problem(context, findings)
    after = path.read_bytes()
    assert after.startswith(before)
    problem = read_competition(path).problem
    assert problem is not None
    assert problem.mirror_left_right == "no"
    assert "원" in problem.question
    assert "# Seen: Classes are told apart by left and right (left)" in after.decode()
    assert not write_problem(context, findings)
    assert path.read_bytes() == after


def test_what_a_user_wrote_stays(context: Context) -> None:
    path = context.workspace.competition_file
    mine = path.read_text("utf-8") + '\n[problem]\nuse = "mine"  # do not touch\n'
    path.write_text(mine, "utf-8")
    assert not write_problem(context, propose_problem(ProblemFacts(classes=("left", "right"))))
    assert path.read_text("utf-8") == mine


def test_line_ends_of_the_file_are_kept(context: Context) -> None:
    path = context.workspace.competition_file
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    write_problem(context, ())
    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r\n")
    assert read_competition(path).problem is not None


def test_hostile_names_stay_in_their_comments_and_texts(context: Context) -> None:
    names = ('left\n[train]\nimages = "x"', 'right\n[train]\nimages = "x"')
    strange = replace(context, tables=replace(context.tables, classes=names))
    findings = propose_problem(ProblemFacts(classes=names))
    assert findings
    table = tomllib.loads(problem_block(strange, findings))
    assert set(table) == {"problem"}
    assert names[0] in table["problem"]["question"]


def test_facts_come_from_tables_scan_and_pixels(context: Context) -> None:
    recipe = resolve_recipe(overrides=TINY)
    prepared = prepare(context, recipe, SPEC, on_event=lambda event: None)
    pictures = small_pictures(prepared.pixels, prepared.scan["sha256"].tolist(), most=10)
    assert (len(pictures), pictures.shape[3], str(pictures.dtype)) == (10, 3, "uint8")
    train = context.tables.train.assign(**{"meta.camera": "a"})
    train.loc[0, "meta.camera"] = "b"
    context = replace(context, tables=replace(context.tables, train=train))
    scan = prepared.scan.copy()
    scan.loc[:2, "orientation"] = 6
    facts = gather_facts(context, scan=scan, pictures=pictures)
    assert facts.devices == {"camera": 2}
    assert (facts.num_turned, facts.num_sizes) == (3, 1)
    assert set(facts.classes) == {"원", "상자"}


def test_a_summary_says_who_answered(context: Context) -> None:
    write_problem(context, ())
    path = context.workspace.competition_file
    path.write_text(
        path.read_text("utf-8").replace(
            'lighting_varies = "unknown"', 'lighting_varies = "yes"'
        ),
        "utf-8",
    )
    context = open_context(context.workspace.folder)
    recipe = resolve_recipe(preset="standard", overrides=TINY)
    facts = ProblemFacts(classes=("left", "right"))
    found = summarise_problem(context, recipe=recipe, facts=facts)
    origins = {line.question: (line.answer, line.origin) for line in found.questions}
    assert origins["lighting_varies"] == ("yes", "user")
    assert origins["mirror_left_right"] == ("no", "data")
    assert origins["scale_varies"] == ("unknown", "open")
    settings = {line.setting: line.value for line in found.proposals}
    assert set(settings) == {"augment.hflip", "augment.transforms", "predict.views"}
    # As printed, so it can be typed.
    overrides = [f"{name}={value}" for name, value in settings.items()]
    changed = resolve_recipe(preset="standard", overrides=[*TINY, *overrides])
    assert changed.augment.hflip == 0
    assert changed.predict.views == ("identity",)
    json.dumps(found.to_json())
    again = summarise_problem(context, recipe=changed, facts=facts)
    assert again.proposals == ()


def test_a_frozen_backbone_is_proposed_no_augmentation(context: Context) -> None:
    recipe = resolve_recipe(preset="quick", overrides=['predict.views=["identity", "hflip"]'])
    facts = ProblemFacts(classes=("left", "right"))
    found = summarise_problem(context, recipe=recipe, facts=facts)
    assert [line.setting for line in found.proposals] == ["predict.views"]


def _every_answer() -> list[dict[Question, Answer]]:
    """Each answer to each question, all yes, all no, and the directions in all ways."""
    sure: tuple[Answer, ...] = ("yes", "no")
    unknown: dict[Question, Answer] = dict.fromkeys(QUESTIONS, "unknown")
    found: list[dict[Question, Answer]] = [{**unknown, q: a} for q in QUESTIONS for a in sure]
    found += [dict.fromkeys(QUESTIONS, a) for a in sure]
    for fixed, mirror in itertools.product(sure, repeat=2):
        found.append({**unknown, "orientation_fixed": fixed, "mirror_left_right": mirror})
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_every_proposal_is_a_setting_that_works(policy: str) -> None:
    """In each policy: it parses, is not dead, and its transforms can be built."""
    recipe = resolve_recipe(
        preset="standard",
        overrides=[f"augment.policy={policy}", 'predict.views=["dihedral8"]', *TINY],
    )
    current = current_augment(recipe, is_grey=False)
    for answers in _every_answer():
        proposals = augmentation_proposals(answers, current)
        assert effective(recipe, proposals) == list(proposals)
        for each in proposals:
            changed = with_setting(recipe, each.setting, each.value)
            assert changed != recipe
            first_change(changed, SPEC)
            assert {f"reason.{reason}" for reason in each.reasons} <= set(PROBLEM_TEXTS)


def test_all_findings_have_texts() -> None:
    from gorae.eda import problem

    source = Path(problem.__file__).read_text("utf-8")
    keys = {key.removeprefix("finding.") for key in PROBLEM_TEXTS if key.startswith("finding.")}
    assert all(f'"{key}"' in source for key in keys)
    assert set(QUESTIONS) <= set(PROBLEM_TEXTS)
    for text in PROBLEM_TEXTS.values():
        assert text.en
        assert text.ko


def test_inline_toml_is_toml() -> None:
    value = [{"name": '빛 "a"', "p": 0.2, "on": True, "sides": [1, 2]}]
    assert tomllib.loads(f"value = {inline_toml(value)}")["value"] == value
