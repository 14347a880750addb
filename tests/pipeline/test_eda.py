"""What ``gorae eda`` finds in planted data, and what later steps make of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from gorae.cli import main
from gorae.config import resolve_recipe
from gorae.errors import ConfigError, DataError
from gorae.pipeline.context import labels_key, open_context
from gorae.pipeline.eda import EdaResult, eda
from gorae.pipeline.init import init
from gorae.workspace import Workspace, read_predictions

Make = Callable[..., Path]
Run = Callable[..., Any]
Clouds = Callable[[int], Image.Image]

RECIPE = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.precision=fp32",
    "train.threads=1",
)


def look(folder: Path, *, run: str | None = None) -> EdaResult:
    if not (folder / "competition.toml").exists():
        init(folder)
    return eda(folder, recipe=resolve_recipe(preset="quick", overrides=RECIPE), run=run)


def said(result: EdaResult, section: str) -> list[str]:
    """Findings of a section that a person should read."""
    found = [f for f in result.findings if f.section == section and f.severity != "fine"]
    return [finding.what.en for finding in found]


def smaller_copy(source: Path, target: Path) -> None:
    with Image.open(source) as image:
        image.resize((36, 30), Image.Resampling.LANCZOS).save(target)


def add_row(folder: Path, row: dict[str, str]) -> None:
    table = pd.read_csv(folder / "train.csv", dtype=str)
    pd.concat([table, pd.DataFrame([row])]).to_csv(folder / "train.csv", index=False)


def test_a_clean_folder_raises_no_alarm(make_competition: Make) -> None:
    result = look(make_competition())
    for section in ("duplicates", "shift", "integrity"):
        assert said(result, section) == [], section
    # A disc takes more bytes than a box: that is what the picture shows, and said all the same.
    reported = [line["column"] for line in result.record["leaks"] if line["is_reported"]]
    assert set(reported) <= {"size_bytes", "all artefacts together"}
    assert result.labels is None
    record = json.loads(result.numbers.read_text("utf-8"))
    assert record["parts"]["train"] == {"rows": 40, "images": 40, "quarantined": 0}
    page = result.page.read_text("utf-8")
    assert "원" in page
    assert "http" not in record["competition"]


def test_a_copy_in_the_test_set_and_a_conflict_are_shown(
    make_competition: Make, clouds: Clouds
) -> None:
    folder = make_competition(num_test=20)
    for number in range(2):
        clouds(number).save(folder / "train" / f"{number:03d}_0.png")
    smaller_copy(folder / "train" / "000_0.png", folder / "test" / "t3.png")
    smaller_copy(folder / "train" / "001_0.png", folder / "train" / "copy.png")
    add_row(folder, {"id": "copy", "label": "원", "subject": "s99"})
    result = look(folder)
    counts = {line["where"]: line for line in result.record["duplicates"]}
    assert counts["train_test"]["near"] == 1
    assert counts["train"]["conflicts"] == 1
    assert len(said(result, "duplicates")) == 2
    assert result.duplicates is not None
    pairs = pd.read_csv(result.duplicates)
    assert {"train/000_0.png", "test/t3.png"} in map(set, pairs[["first", "second"]].to_numpy())


def test_a_planted_leak_and_a_planted_shift_are_found(make_competition: Make) -> None:
    folder = make_competition(num_subjects=60, num_test=40)
    # Whoever saved one class used another quality: its files are larger.
    for path in sorted((folder / "train").glob("*.png")):
        subject = int(path.name[:3])
        with Image.open(path) as image:
            image.resize((48 + 16 * (subject % 2), 40), Image.Resampling.NEAREST).save(path)
    result = look(folder)
    assert any("predicts the label" in text for text in said(result, "leaks"))
    leaks = {line["column"]: line for line in result.record["leaks"]}
    assert leaks["width_px"]["is_reported"]
    assert leaks["width_px"]["low"] > 0.75
    assert [line["is_shifted"] for line in result.record["shift"]] == [True]


def test_labels_are_judged_by_a_run_and_its_corrections_are_honoured(
    make_competition: Make, run_quick: Run
) -> None:
    folder = make_competition(num_subjects=60)
    run_quick(folder)
    before = open_context(folder)
    result = look(folder, run="0001")
    assert result.record["suspects"] is not None
    if result.labels is not None:
        listed = pd.read_csv(result.labels, dtype=str)
        assert result.record["suspects"] == len(listed)
    rows = [
        "image_id,label,weight",
        "train/000_0.png,상자,",
        "train/000_1.png,상자,",
        "train/002_0.png,,0",
    ]
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", "utf-8")
    toml = folder / "competition.toml"
    toml.write_text('corrections = "labels.csv"\n' + toml.read_text("utf-8"), "utf-8")
    after = open_context(folder)
    assert labels_key(after) != labels_key(before)
    labels = after.tables.train.set_index("image_id")["label"]
    assert labels["train/000_0.png"] == "상자"
    corrected = run_quick(folder)
    run = Workspace(folder).run(corrected.run_id)
    assert run.run_id.startswith("0002")
    records = [member.read_record() for member in run.members()]
    # One picture of 120 trains in no fold, and validates in one all the same.
    assert sum(record["num_valid"] for record in records) == 120
    assert sum(record["num_train"] for record in records) == 119
    assert len(read_predictions(run.oof).ids) == 120


def test_weights_between_0_and_1_are_refused_by_a_head(
    make_competition: Make, run_quick: Run
) -> None:
    folder = make_competition()
    init(folder)
    (folder / "labels.csv").write_text("image_id,weight\ntrain/000_0.png,0.5\n", "utf-8")
    toml = folder / "competition.toml"
    toml.write_text('corrections = "labels.csv"\n' + toml.read_text("utf-8"), "utf-8")
    with pytest.raises(ConfigError, match=r"1 corrections give a weight between 0 and 1"):
        run_quick(folder)


def test_bad_corrections_are_named_at_once(make_competition: Make) -> None:
    folder = make_competition()
    init(folder)
    lines = "image_id,label,weight\ntrain/000_0.png,새,\nnowhere.png,원,\ntrain/001_0.png,,7\n"
    (folder / "labels.csv").write_text(lines, "utf-8")
    toml = folder / "competition.toml"
    toml.write_text('corrections = "labels.csv"\n' + toml.read_text("utf-8"), "utf-8")
    with pytest.raises(DataError, match=r"labels.csv cannot be used"):
        open_context(folder)


def test_the_problem_is_written_once_and_never_changed(make_competition: Make) -> None:
    folder = make_competition()
    look(folder)
    toml = folder / "competition.toml"
    assert "[problem]" in toml.read_text("utf-8")
    edited = toml.read_text("utf-8").replace(
        'mirror_left_right = "unknown"', 'mirror_left_right = "yes"'
    )
    toml.write_text(edited, "utf-8")
    result = look(folder)
    assert toml.read_text("utf-8") == edited
    answers = result.record["problem"]["questions"]
    assert answers["mirror_left_right"]["answer"] == "yes"
    assert answers["mirror_left_right"]["origin"] == "user"


def test_the_command_tells_what_it_found(
    make_competition: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_competition()
    init(folder)
    changes = [part for change in RECIPE for part in ("--set", change)]
    assert main(["eda", str(folder), "--preset", "quick", *changes]) == 0
    shown = capsys.readouterr().out
    assert "eda.html" in shown
    assert "gorae run" in shown
    assert main(["eda", str(folder), "--run", "0007", *changes]) == 64
    assert "There is no run" in capsys.readouterr().err
