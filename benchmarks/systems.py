"""The source systems, run by one command each: docs/systems.md.

``gorae demo SYSTEM`` on the small set of each layout, and the shipped recipes on real pictures
where a shared set has the same layout. Each is scored on labels that were in no file of the
competition. A line that is there already is not run again: ``make systems``.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from common import GORAE, ROOT, copied, shared_folder
from experiments import (
    keep_result,
    read_results,
)
from gorae.pipeline.demo.sets import hidden_score

WORK = ROOT / ".bench" / "systems"
RESULTS = WORK / "results.jsonl"
DOCS = ROOT / "docs"

DEMOS = ("digits", "melanoma", "cats", "mask", "whales")

TUTORIALS = (
    "melanoma",
    "cats",
    "mask",
    "whales",
    "individuals",
    "roi",
    "directions",
)


@dataclass(frozen=True)
class Real:
    """A shipped recipe on real pictures."""

    data: str
    """Name of the shared set."""
    recipe: str
    score: str
    """A name in ``demo_sets.SCORES``."""
    overrides: tuple[str, ...] = ()


_WEIGHTS = ("model.name=mobilenetv2_100", "model.kwargs.pad_type=same")

REAL: dict[str, Real] = {
    "cats-and-dogs": Real(
        "cats-and-dogs", "cats", "accuracy", (*_WEIGHTS[1:], "train.epochs=2")
    ),
    "cattle-faces": Real("cattle-faces", "individuals-quick", "map_at_5", _WEIGHTS),
    "chest-xray": Real(
        "chest-xray",
        "isic2020",
        "roc_auc",
        (
            *_WEIGHTS,
            "pixels.input_size=128",
            "train.epochs=6",
            # Its diagnoses and their merging are of moles, and so are its columns.
            "target={}",
            'model.metadata_columns=["age", "sex", "view"]',
        ),
    ),
}


def newest_results() -> dict[str, dict[str, Any]]:
    """The newest line of each system."""
    return {line["system"]: line for line in read_results(RESULTS)}


def gorae(arguments: Sequence[str | Path]) -> dict[str, Any]:
    """What a command says as JSON."""
    command = [str(GORAE), *map(str, arguments), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
        sys.exit(f"{shlex.join(command)} ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def line_of(system: str, command: str, said: dict[str, Any], hidden: float) -> dict[str, Any]:
    return {
        "system": system,
        "command": command,
        "metric": said["metric"],
        "oof": said["oof"]["score"],
        "hidden": hidden,
    }


def run_demo(system: str) -> None:
    """The demo of one system; its time is that of the whole command."""
    start = time.perf_counter()
    said = gorae(["demo", system, WORK / f"demo-{system}"])
    line = line_of(system, f"gorae demo {system}", said, said["hidden_score"])
    keep_result(RESULTS, {**line, "elapsed_s": round(time.perf_counter() - start)})


def run_real(name: str) -> None:
    """A shipped recipe on a shared set, scored on its kept-back labels."""
    real, shared, folder = REAL[name], shared_folder(), WORK / name
    if not folder.exists():
        copied(shared / "data" / real.data, folder)
    options = [part for change in real.overrides for part in ("--set", change)]
    weights = shared / "weights" / "mobilenetv2_100.safetensors"
    start = time.perf_counter()
    said = gorae(
        ["run", folder, "--recipe", real.recipe, *options, "--set", f"model.weights={weights}"]
    )
    elapsed_s = round(time.perf_counter() - start)
    hidden = hidden_score(
        Path(said["submission"]), answers_of(shared, real.data), score=real.score
    )
    shown = shlex.join([*options, "--set", "model.weights=mobilenetv2_100.safetensors"])
    command = f"gorae run {name} --recipe {real.recipe} {shown}"
    keep_result(RESULTS, {**line_of(name, command, said, hidden), "elapsed_s": elapsed_s})


def answers_of(shared: Path, data: str) -> dict[str, str]:
    """The kept-back labels by id."""
    path = shared / "data" / f"{data}.solution.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return dict(zip(table.iloc[:, 0], table.iloc[:, 1], strict=True))


WORDS = {
    "en": {
        "title": "The source systems, each by one command",
        "intro": "Made by `make systems` (`benchmarks/systems.py`), which runs what is missing "
        "and goes on where it was stopped. *OOF* is the score on pictures that validate, "
        "*hidden* that of the submission on labels that were in no file; time is that of the "
        "whole command on {cores} cores. The demos draw their pictures from 1,797 real digits "
        "and two photographs that ship with scikit-learn, use small networks with random "
        "weights, and download nothing: they show that a system works as a whole, not how good "
        "it is on its own data.",
        "head": "| system | command | metric | OOF score | hidden score | time |",
        "demos": "Demonstration sets",
        "real": "Shipped recipes on real pictures",
        "pages": "Step by step",
    },
    "ko": {
        "title": "원본 시스템을 명령 하나로",
        "intro": "`make systems` (`benchmarks/systems.py`)가 만듭니다. 빠진 것만 실행하고, "
        "멈춘 곳에서 이어 갑니다. *OOF* 는 검증 부분 사진의 점수, *숨긴 점수* 는 "
        "어느 파일에도 없던 정답으로 잰 제출 파일의 점수입니다. 시간은 코어 "
        "{cores}개에서 명령 전체에 걸린 시간입니다. 데모의 사진은 scikit-learn에 "
        "들어 있는 실제 손글씨 숫자 1,797장과 사진 두 장으로 만들었고, 무작위 "
        "가중치의 작은 망을 쓰며 아무것도 내려받지 않습니다. 시스템 전체가 "
        "돌아간다는 것을 보여 줄 뿐, 원래 데이터에서의 성능을 말하지는 않습니다.",
        "head": "| 시스템 | 명령 | 지표 | OOF 점수 | 숨긴 점수 | 시간 |",
        "demos": "데모 데이터",
        "real": "실제 사진에서 돌린 배포 레시피",
        "pages": "단계별 안내",
    },
}


def page(language: str) -> str:
    """docs/systems.md, or its Korean form, from what was run."""
    words, results = WORDS[language], newest_results()
    ending = ".md" if language == "en" else ".ko.md"
    lines = [f"# {words['title']}", "", words["intro"].format(cores=os.cpu_count()), ""]
    for title, names in (("demos", DEMOS), ("real", tuple(REAL))):
        rows = [_row(results[name]) for name in names if name in results]
        if rows:
            lines += [f"## {words[title]}", "", words["head"], "| --- " * 6 + "|", *rows, ""]
    pages = [name for name in TUTORIALS if (DOCS / "systems" / f"{name}{ending}").exists()]
    if pages:
        lines += [f"## {words['pages']}", ""]
        lines += [f"- [{_title(name, ending)}](systems/{name}{ending})" for name in pages]
        lines.append("")
    return "\n".join(lines)


def _title(name: str, ending: str) -> str:
    text = (DOCS / "systems" / f"{name}{ending}").read_text("utf-8")
    return text.partition("\n")[0].lstrip("# ").strip() or name


def _row(line: dict[str, Any]) -> str:
    cells = [
        line["system"],
        f"`{line['command']}`",
        line["metric"],
        f"{line['oof']:.4f}",
        f"{line['hidden']:.4f}",
        f"{line['elapsed_s']} s",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="*", default=[*DEMOS, *REAL])
    options = parser.parse_args()
    done = newest_results()
    for name in options.systems:
        if name not in done:
            (run_demo if name in DEMOS else run_real)(name)
    for language, ending in (("en", ".md"), ("ko", ".ko.md")):
        (DOCS / f"systems{ending}").write_text(page(language), encoding="utf-8")
    print(f"wrote {DOCS / 'systems.md'} and its Korean form")


if __name__ == "__main__":
    main()
