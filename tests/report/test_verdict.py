"""gorae.report.verdict."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from gorae.report import page as p
from gorae.report.summaries import build_summaries
from gorae.report.verdict import judge


def make_page(**changes: Any) -> p.ReportPage:
    """A run of three classes whose submission is fine; ``changes`` to its headline."""
    headline = p.Headline(
        competition="Zoo",
        task="multiclass",
        metric="macro_f1",
        greater_is_better=True,
        run_id="0001-quick",
        model="resnet18",
        score=0.8765,
        interval=(0.8412, 0.9034),
        expected=(0.8123, 0.9345),
        num_rows=1200,
        num_models=5,
        baseline=0.5,
    )
    truth = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    values = np.eye(3)[[0, 0, 0, 1, 2, 2, 2, 2, 1]]
    return p.ReportPage(
        headline=dataclasses.replace(headline, **changes),
        summaries=build_summaries(truth, values, classes=("곰", "개", "닭"), task="multiclass"),
        submission=p.SubmissionSummary(path="s.csv", num_rows=42),
    )


def test_the_verdict_follows_the_numbers() -> None:
    page = make_page()
    assert judge(page).level == "ready"
    assert judge(dataclasses.replace(page, submission=None)).level == "scored"
    assert judge(make_page(baseline=0.86)).level == "weak"
    assert judge(make_page(interval=None, baseline=0.86)).level == "ready"
    assert judge(make_page(greater_is_better=False, baseline=0.95)).level == "ready"
    assert judge(make_page(greater_is_better=False, baseline=0.5)).level == "weak"
    assert judge(make_page(warnings=("read me",))).level == "warnings"


def test_the_verdict_follows_the_submission() -> None:
    page = make_page()
    fallback = pd.DataFrame({"id": ["7"], "reason": ["empty"]})
    partly = p.SubmissionSummary(path="s.csv", num_rows=42, fallback=fallback)
    assert judge(dataclasses.replace(page, submission=partly)).level == "warnings"
    checks = (p.Check(name="ids", passed=False), p.Check(name="rows", passed=True))
    broken = judge(
        dataclasses.replace(
            page, submission=p.SubmissionSummary(path="s.csv", num_rows=42, checks=checks)
        )
    )
    assert broken.level == "broken"
    assert broken.sentences[-1].en == "The submission failed 1 of its checks."


def test_the_verdict_says_it_in_sentences() -> None:
    sentences = judge(make_page()).sentences
    assert [sentence.en for sentence in sentences] == [
        "On 1,200 rows it had never seen, the model scored 0.876 (Macro F1).",
        "Answering without looking at any picture would give 0.500.",
        "Expect between 0.812 and 0.934 on the test set.",
        "Its most frequent mistake: 개 is called 닭 (2 times).",
        "The class it knows least is 개 (F1 0.400, 3 rows).",
        "The submission has 42 rows and passed all its checks.",
    ]
    assert sentences[3].ko == "가장 잦은 실수: 정답 ‘개’ → 예측 ‘닭’ (2번)."


def test_labels_that_never_occur_are_not_called_the_weakest() -> None:
    truth, values = np.zeros((4, 3), np.float32), np.full((4, 3), 0.2, np.float32)
    page = dataclasses.replace(
        make_page(), summaries=build_summaries(truth, values, classes="abc", task="multilabel")
    )
    assert not any("knows least" in sentence.en for sentence in judge(page).sentences)


def test_a_run_that_learned_badly_is_said_at_once() -> None:
    found = p.Diagnosis(fit="overfits", evidence=())
    sentences = judge(dataclasses.replace(make_page(), diagnosis=found)).sentences
    assert any(sentence.en.startswith("It overfits") for sentence in sentences)
    fine = p.Diagnosis(fit="balanced", evidence=())
    assert judge(dataclasses.replace(make_page(), diagnosis=fine)) == judge(make_page())
