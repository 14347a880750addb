"""Step ``compare``: the same folds, nothing trained twice, differences told from noise."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from gorae.config import resolve_recipe
from gorae.errors import UserError
from gorae.events import Event
from gorae.pipeline.compare import CompareResult, compare
from gorae.workspace import Workspace, read_predictions

BASE = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "split.near_duplicates=false",
    "augment.policy=none",
    "train.epochs=6",
    "train.lr=0.01",
    "train.batch_size=16",
    "train.precision=fp32",
    "train.compile=false",
    "train.threads=1",
    "train.workers=0",
    "predict.compile=false",
    'predict.views=["identity"]',
)
VARY = ("train.lr=1e-7", "seed=7")


def draw_digits(folder: Path, *, num_images: int = 96) -> Path:
    """Three kinds of real digits, 32 x 32, one folder per class."""
    digits = load_digits()
    chosen = np.flatnonzero(digits.target < 3)[:num_images]
    for number in chosen:
        path = folder / f"{digits.target[number]}" / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        gray = Image.fromarray((digits.images[number] * 15.9).astype(np.uint8))
        gray.resize((32, 32), Image.Resampling.BILINEAR).convert("RGB").save(path)
    return folder


def compare_digits(folder: Path, *vary: str, **options: Any) -> CompareResult:
    options = {"preset": "standard", "overrides": BASE, **options}
    return compare(folder, vary=vary, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_digits(tmp_path_factory.mktemp("compare") / "digits")


@pytest.fixture(scope="module")
def found(folder: Path) -> CompareResult:
    return compare_digits(folder, *VARY)


def line(result: CompareResult, name: str) -> Any:
    (found,) = [each for each in result.lines if each.name == name]
    return found


def test_a_clear_loser_is_worse_and_another_seed_is_within_noise(found: CompareResult) -> None:
    worse, same, base = (line(found, name) for name in (*VARY, "base"))
    assert (worse.verdict, same.verdict, base.verdict) == ("worse", "within noise", "base")
    assert worse.gain < -0.2
    assert worse.rank == 3
    assert worse.num_better == 0
    assert worse.num_pairs == 2
    assert base.gain == 0
    assert base.interval is None
    assert [each.rank for each in found.lines] == [1, 2, 3]


def test_all_variants_are_scored_on_one_split(folder: Path, found: CompareResult) -> None:
    workspace = Workspace(folder)
    runs = [workspace.run(run) for each in found.lines for run in each.runs]
    assert len(runs) == 3
    assert {run.read_settings()["keys"]["split"] for run in runs} == {found.split}
    assert len({frozenset(read_predictions(run.oof).ids) for run in runs}) == 1
    for each in found.lines:
        result = workspace.run(each.runs[0]).read_result()
        assert result is not None
        assert each.score == pytest.approx(result["score"])
        assert each.fold_scores == tuple(result["fold_scores"])


def test_the_second_call_trains_nothing_and_says_the_same(
    folder: Path, found: CompareResult
) -> None:
    events: list[Event] = []
    before = {p: p.stat().st_mtime_ns for p in (folder / ".gorae/runs").rglob("*.parquet")}
    page = found.page.read_bytes()
    again = compare_digits(folder, *VARY, on_event=events.append)
    assert again == found
    assert again.page.read_bytes() == page
    assert {
        p: p.stat().st_mtime_ns for p in (folder / ".gorae/runs").rglob("*.parquet")
    } == before
    texts = [event.text for event in events if event.stage == "compare"]
    assert any("6 trainings, 6 of them there already" in text for text in texts)


def test_a_run_that_was_there_is_taken_and_only_the_rest_is_trained(
    folder: Path, found: CompareResult
) -> None:
    events: list[Event] = []
    result = compare_digits(folder, "train.lr=1e-7,1e-6", on_event=events.append)
    assert line(result, "train.lr=1e-7").runs == line(found, "train.lr=1e-7").runs
    assert line(result, "base").runs == line(found, "base").runs
    (plan,) = [event.text for event in events if "trainings" in event.text]
    assert "6 trainings, 4 of them there already" in plan
    assert result.page != found.page


def test_seeds_share_the_folds_and_their_spread_is_told(
    folder: Path, found: CompareResult
) -> None:
    result = compare_digits(folder, "train.lr=1e-7", seeds=2)
    base = line(result, "base")
    assert base.runs[0] == line(found, "base").runs[0]
    assert len(set(base.runs)) == 2
    assert base.seed_sd == pytest.approx(np.std(base.seed_scores, ddof=1))
    assert base.score == pytest.approx(np.mean(base.seed_scores))
    assert line(result, "train.lr=1e-7").num_pairs == 4
    assert result.split == found.split
    for shown, sentence in ((result, "and of training"), (found, "not that of training")):
        assert sentence in shown.page.read_text("utf-8")


def test_the_page_and_its_numbers_hold_every_variant(found: CompareResult) -> None:
    html = found.page.read_text("utf-8")
    for each in found.lines:
        assert all(f"<code>{change}</code>" in html for change in each.changes)
        assert all(run in html for run in each.runs)
    for text in ("within noise", "오차 범위 안", "Fold by fold", "폴드별 차이"):
        assert text in html
    data = json.loads(html.partition('id="report-data">')[2].partition("</script>")[0])
    assert set(data["charts"]["ko"]) == {"against", "by_fold"}
    assert json.loads(found.page.with_name("compare.json").read_text("utf-8")) == json.loads(
        json.dumps(found.to_json())
    )


def test_winners_are_written_for_the_larger_network(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "larger.toml"
    # The same trainings seen from below: what was the base is now a winner.
    weak = [change for change in BASE if not change.startswith("train.lr")]
    result = compare_digits(
        folder,
        "train.lr=0.01",
        overrides=(*weak, "train.lr=1e-7"),
        write=path,
        write_for="model.name=test_vit pixels.input_size=160",
    )
    assert line(result, "train.lr=0.01").verdict == "better"
    assert result.winners is not None
    assert result.winners.taken == ("train.lr=0.01",)
    recipe = resolve_recipe(path=path)
    assert (recipe.train.lr, recipe.model.name, recipe.name) == (0.01, "test_vit", "larger")
    assert recipe.pixels.input_size == 160
    text = path.read_text("utf-8")
    assert "# Better than the base: train.lr=0.01: +0." in text
    assert "not with the settings of --for" in text
    with pytest.raises(UserError, match=r"larger\.toml is there already, and .* overwritten"):
        compare_digits(folder, "train.lr=0.1", write=path)
    assert path.read_text("utf-8") == text


@pytest.mark.parametrize(
    ("vary", "options", "message"),
    [
        (("split.seed=1",), {}, r"split\.seed cannot be varied: all variants share the folds"),
        (("refit=true",), {}, "refit cannot be varied: .* has seen every row"),
        (("name=x",), {}, "name cannot be varied"),
        (
            ("train.momentum=0.5", "train.lr=0.1", "train.swa_lr_share=0.5"),
            {},
            r"(?s)2 variant\(s\) cannot be used, and nothing was trained.*momentum has no "
            r"effect.*swa_lr_share has no effect",
        ),
        (("train.lrr=1",), {}, r"train\.lrr: no such setting; near: train\.lr"),
        (("train.lr=0.01",), {}, "nothing to compare with the base"),
        ((), {}, "nothing to compare with the base"),
        (("train.lr=0.1",), {"seeds": 0}, "--seeds must be at least 1"),
        (("train.lr=0.1",), {"write_for": "train.lr=1"}, "name the file as well"),
        (("train.lr=0.1",), {"write": "x.txt"}, r"name it x\.toml"),
        (
            ("train.lr=0.1",),
            {"write": "x.toml", "write_for": "train.lr=1,2"},
            "names 2 recipes, and one is written",
        ),
        (("train.lr=0.1",), {"write": "x.toml", "write_for": "train.lrr=1"}, "no such setting"),
        (
            ("model.name=resnet18",),
            {"overrides": (*BASE, "model.weights=w.safetensors")},
            r"model\.weights is still w\.safetensors, the file of lenet5\. Add",
        ),
        (("train.lr=0.1",), {"recipe": "a.toml"}, "a preset or a recipe file, not both"),
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_is_made(
    vary: tuple[str, ...], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = draw_digits(tmp_path / "digits", num_images=9)
    with pytest.raises(UserError, match=message):
        compare_digits(folder, *vary, **options)
    assert not (folder / ".gorae").exists()


def test_the_command(folder: Path, found: CompareResult, gorae_cli: Callable[..., Any]) -> None:
    given = [part for change in BASE for part in ("--set", change)]
    given += [part for change in VARY for part in ("--vary", change)]
    spoken = gorae_cli("compare", folder, "--preset", "standard", *given)
    assert spoken.code == 0
    for text in ("train.lr=1e-7", "worse", "within noise", "compare.html", "one seed"):
        assert text in spoken.out
    answer = gorae_cli("compare", folder, "--preset", "standard", *given, "--json").json
    assert answer == json.loads(json.dumps(found.to_json()))
    refused = gorae_cli("compare", folder, "--vary", "split.seed=1")
    assert refused.code == 64
    assert "share the folds" in refused.err


def test_a_conflict_of_winners_is_settled_for_the_best(folder: Path, tmp_path: Path) -> None:
    weak = [change for change in BASE if not change.startswith("train.lr")]
    result = compare_digits(
        folder,
        "train.lr=0.01,0.003",
        overrides=(*weak, "train.lr=1e-7"),
        write=tmp_path / "two.toml",
    )
    first, second = result.lines[:2]
    assert first.verdict == second.verdict == "better"
    assert result.winners is not None
    assert result.winners.taken == (first.name,)
    assert result.winners.left_out == (
        (second.name, f"{first.name} is better and sets train.lr too"),
    )
    written = resolve_recipe(path=tmp_path / "two.toml")
    assert f"train.lr={written.train.lr}" == first.name
