"""Every layout of a competition's folder, from the raw files to the checked submission."""

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gorae.config import read_competition
from gorae.errors import ConfigError, DataError
from gorae.pipeline.check import check
from gorae.pipeline.context import open_context
from gorae.workspace import Workspace, read_predictions

Make = Callable[..., Path]
Run = Callable[..., Any]


def picture(path: Path, kind: int, rng: np.random.Generator) -> None:
    """A picture of one of a few colours, with noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = np.array([(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)][kind % 4])
    noise = rng.integers(-25, 25, (36, 44, 3))
    Image.fromarray((colour + noise).astype(np.uint8)).save(path)


def fill(folder: Path, names: Sequence[str], *, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for number, name in enumerate(names):
        picture(folder / name, number, rng)


def answers_of(result: Any) -> pd.DataFrame:
    assert result.submission is not None
    return pd.read_csv(result.submission, dtype=str, keep_default_na=False)


def require_accepted(folder: Path, result: Any) -> pd.DataFrame:
    """The submission, which our own check must accept as it lies there."""
    found = check(folder, file=result.submission)
    assert found.is_accepted, found.findings
    assert 0 <= result.interval[0] <= result.interval[1]
    return answers_of(result)


# Folders


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param("train", marks=pytest.mark.long),
        "train valid",
        "train test",
        pytest.param("plain", marks=pytest.mark.long),
    ],
)
def test_class_folders(run_quick: Run, tmp_path: Path, parts: str) -> None:
    folder = tmp_path / "꽃 사진"
    classes = ("장미", "튤립", "백합", "국화")
    for part in parts.split():
        for index in range(32 if part != "valid" else 16):
            name = f"{classes[index % 4]}/{index // 4}.png"
            where = {"plain": name, "test": f"test/{index:02d}.png"}.get(part, f"{part}/{name}")
            picture(folder / where, index, np.random.default_rng(index + 100 * len(part)))
    result = run_quick(folder)
    context = open_context(folder)
    assert context.tables.classes == tuple(sorted(classes))
    target = Workspace(folder).run(result.run_id)
    oof = read_predictions(target.oof)
    assert len(oof.ids) == (16 if "valid" in parts else 32)
    assert all(name.startswith("valid/") for name in oof.ids) == ("valid" in parts)
    assert result.score > 0.9, "four plain colours"
    if "test" in parts:
        answers = require_accepted(folder, result)
        assert answers["id"].tolist() == [f"{i:02d}.png" for i in range(32)]
        expected = [classes[i % 4] for i in range(32)]
        assert (answers["label"] == expected).mean() > 0.9
    else:
        assert result.submission is None
        assert result.expected is None


def test_ids_without_extension_in_sub_folders(run_quick: Run, tmp_path: Path) -> None:
    names = [f"{'ab'[i % 2]}/{i:03d}" for i in range(24)]
    fill(tmp_path / "train", [f"{name}.jpg" for name in names])
    fill(tmp_path / "test", [f"깊은/곳/{i}.JPG" for i in range(4)])
    labels = pd.DataFrame(
        {"id": names, "label": [["빨강", "초록", "파랑", "노랑"][i % 4] for i in range(24)]}
    )
    labels.to_csv(tmp_path / "train.csv", index=False)
    sample = pd.DataFrame({"id": list("3120"), "label": "빨강"})
    sample.to_csv(tmp_path / "sample_submission.csv", index=False)
    result = run_quick(tmp_path)
    answers = require_accepted(tmp_path, result)
    assert answers["id"].tolist() == list("3120")
    assert answers["label"].tolist() == ["노랑", "초록", "파랑", "빨강"]


def test_zip_files(run_quick: Run, tmp_path: Path) -> None:
    raw, folder = tmp_path / "raw", tmp_path / "대회"
    folder.mkdir()
    fill(raw / "train", [f"{['고양이', '개'][i % 2]}.{i}.jpg" for i in range(24)])
    fill(raw / "test", [f"{i + 1}.jpg" for i in range(6)])
    for part in ("train", "test"):
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
            for path in sorted((raw / part).iterdir()):
                archive.write(path, f"{part}/{path.name}")
    result = run_quick(folder)
    answers = require_accepted(folder, result)
    assert len(answers) == 6
    assert {path.name for path in folder.iterdir()} == {
        "train.zip", "test.zip", "competition.toml", ".gorae",
    }  # fmt: skip


AGES = (29, 30, 59, 60)


def test_person_folders_have_the_eighteen_classes(run_quick: Run, tmp_path: Path) -> None:
    files = [*(f"mask{i}" for i in range(1, 6)), "incorrect_mask", "normal"]
    rows = ["id,gender,race,age,path"]
    rng = np.random.default_rng(0)
    for person in range(8):
        gender, age = ("male", "female")[person % 2], AGES[person // 2]
        name = f"{person:06d}_{gender}_Asian_{age}"
        rows.append(f"{person:06d},{gender},Asian,{age},{name}")
        for index, file in enumerate(files):
            extension = ("jpg", "png", "jpeg")[person % 3]
            picture(tmp_path / f"train/images/{name}/{file}.{extension}", index // 3, rng)
    (tmp_path / "train/train.csv").write_text("\n".join(rows) + "\n", "utf-8")
    fill(tmp_path / "eval/images", [f"{i:04x}.jpg" for i in range(5)])
    sent = ["ImageID,ans", *(f"{i:04x}.jpg,0" for i in (4, 0, 3, 1, 2))]
    (tmp_path / "eval/info.csv").write_text("\n".join(sent) + "\n", "utf-8")
    result = run_quick(tmp_path)
    assert result.metric == "macro_f1"
    answers = require_accepted(tmp_path, result)
    assert answers["ImageID"].tolist() == [f"{i:04x}.jpg" for i in (4, 0, 3, 1, 2)]
    assert set(answers["ans"]) <= {str(index) for index in range(18)}
    table = open_context(tmp_path).tables.train.set_index("image_id")["label"]
    at = "train/images/"
    # FACTS: (wear, male, <30) = 0; (wear, female, 30-59) = 4; (incorrect, female, >=60) = 11;
    # (not worn, male, 30-59) = 13; (not worn, female, >=60) = 17.
    assert table[f"{at}000000_male_Asian_29/mask3.jpg"] == "0"
    assert table[f"{at}000003_female_Asian_30/mask1.jpg"] == "4"
    assert table[f"{at}000007_female_Asian_60/incorrect_mask.png"] == "11"
    assert table[f"{at}000004_male_Asian_59/normal.png"] == "13"
    assert table[f"{at}000007_female_Asian_60/normal.png"] == "17"
    key = Workspace(tmp_path).run(None).read_settings()["keys"]["split"]
    folds = pd.read_parquet(tmp_path / ".gorae/splits" / key / "folds.parquet")
    people = folds["image_id"].str.split("/").str[2]
    assert (folds["fold"].groupby(people).nunique() == 1).all()


# Answers


def write_tables(folder: Path, labels: dict[str, list[str]], sample: dict[str, Any]) -> None:
    """Pictures, train.csv and sample_submission.csv of a competition of colours."""
    count = len(next(iter(labels.values())))
    fill(folder / "train", [f"가{i:03d}.png" for i in range(count)])
    fill(folder / "test", [f"나{i}.png" for i in range(4)], seed=1)
    table = pd.DataFrame({"id": [f"가{i:03d}" for i in range(count)], **labels})
    table.to_csv(folder / "train.csv", index=False)
    asked = pd.DataFrame({"id": [f"나{i}" for i in (2, 0, 1, 3)], **sample})
    asked.to_csv(folder / "sample_submission.csv", index=False)


COLOURS = ("빨강", "초록", "파랑", "노랑")
CYCLE = [COLOURS[i % 4] for i in range(24)]


def test_one_hot_columns_of_several_labels(run_quick: Run, tmp_path: Path) -> None:
    flags = {
        name: [str(int(c == name or (c == "노랑" and name != "파랑"))) for c in CYCLE]
        for name in COLOURS[:3]
    }
    write_tables(tmp_path, flags, dict.fromkeys(COLOURS[:3], "0.5"))
    result = run_quick(tmp_path)
    answers = require_accepted(tmp_path, result)
    assert list(answers) == ["id", *COLOURS[:3]]
    assert result.metric == "roc_auc_macro"
    yellow = answers[answers["id"] == "나3"].iloc[0]
    assert float(yellow["파랑"]) < 0.5 < min(float(yellow["빨강"]), float(yellow["초록"]))


def test_delimited_labels(run_quick: Run, tmp_path: Path) -> None:
    cells = [{"노랑": "빨강|초록"}.get(c, c) for c in CYCLE]
    write_tables(tmp_path, {"tags": cells}, {"tags": "빨강|초록"})
    result = run_quick(tmp_path)
    answers = require_accepted(tmp_path, result)
    assert result.metric == "micro_f1"
    assert answers["tags"].tolist() == ["파랑", "빨강", "초록", "빨강|초록"]


def test_probability_columns(run_quick: Run, tmp_path: Path) -> None:
    write_tables(tmp_path, {"색": CYCLE}, dict.fromkeys(COLOURS[::-1], "0.25"))
    result = run_quick(tmp_path)
    answers = require_accepted(tmp_path, result)
    assert list(answers) == ["id", *COLOURS[::-1]]
    assert result.metric == "log_loss"
    values = answers.set_index("id").astype(float)
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-6)
    best = [str(column) for column in values.idxmax(axis=1)]
    assert best == [COLOURS[i] for i in (2, 0, 1, 3)]


def test_one_probability(run_quick: Run, tmp_path: Path) -> None:
    labels = [str(int(c in ("빨강", "노랑"))) for c in CYCLE]
    write_tables(tmp_path, {"target": labels}, {"target": "0.5"})
    result = run_quick(tmp_path)
    answers = require_accepted(tmp_path, result)
    assert result.metric == "roc_auc"
    values = answers.set_index("id")["target"].astype(float)
    assert min(values["나0"], values["나3"]) > max(values["나1"], values["나2"])


def test_ranked_answers_with_an_unknown_individual(run_quick: Run, tmp_path: Path) -> None:
    write_tables(tmp_path, {"Id": CYCLE}, {"Id": "새고래 빨강 초록"})
    result = run_quick(tmp_path)
    assert read_competition(tmp_path / "competition.toml").metric_params == {"k": 3}
    answers = require_accepted(tmp_path, result)
    assert result.metric == "map_at_k"
    cells = answers["Id"].str.split(" ")
    assert (cells.map(len) == 3).all()
    assert [cell[0] for cell in cells] == [COLOURS[i] for i in (2, 0, 1, 3)]
    assert all("새고래" in cell for cell in cells)


def test_regression(run_quick: Run, tmp_path: Path) -> None:
    values = [f"{10.5 + 3 * (i % 4) + i / 100:.2f}" for i in range(24)]
    write_tables(tmp_path, {"무게": values}, {"무게": "0.0"})
    result = run_quick(tmp_path)
    answers = require_accepted(tmp_path, result)
    assert result.metric == "rmse"
    assert result.score < 2
    sent = answers.set_index("id")["무게"].astype(float)
    assert sent["나0"] < sent["나1"] < sent["나2"] < sent["나3"]


def test_ordinal_grades_with_quadratic_kappa(run_quick: Run, tmp_path: Path) -> None:
    write_tables(tmp_path, {"diagnosis": [str(i % 4) for i in range(24)]}, {"diagnosis": "0"})
    settings = tmp_path / "competition.toml"
    from gorae.pipeline.init import init

    found = init(tmp_path)
    assert any('task = "ordinal"' in note for note in found.notes)
    text = settings.read_text("utf-8").replace('task = "multiclass"', 'task = "ordinal"')
    settings.write_text(text.replace('metric = "accuracy"', 'metric = "qwk"'), "utf-8")
    result = run_quick(tmp_path)
    assert result.metric == "qwk"
    assert result.score > 0.9
    assert require_accepted(tmp_path, result)["diagnosis"].tolist() == ["2", "0", "1", "3"]


def test_box_columns_are_kept_and_never_labels(run_quick: Run, tmp_path: Path) -> None:
    box = {"x1": "1", "y1": "2", "x2": "20", "y2": "30"}
    write_tables(
        tmp_path,
        {**{name: [value] * 24 for name, value in box.items()}, "색": CYCLE},
        {"색": "빨강"},
    )
    run_quick(tmp_path)
    train = read_competition(tmp_path / "competition.toml").train
    assert train.box_columns == ("x1", "y1", "x2", "y2")
    assert train.label_columns == ("색",)
    table = open_context(tmp_path).tables.train
    assert set(table["meta.x2"]) == {"20"}


def test_a_metric_of_the_user(run_quick: Run, make_competition: Make) -> None:
    folder = make_competition(12, 4)
    run_quick(folder)
    (folder / "점수.py").write_text(
        "import numpy as np\n\n\ndef wrong(truth, values):\n"
        "    return float((values.argmax(axis=1) != truth).mean())\n\n\n"
        "wrong.greater_is_better = False\n",
        "utf-8",
    )
    settings = folder / "competition.toml"
    text = settings.read_text("utf-8").replace(
        'metric = "accuracy"', 'metric = "점수.py:wrong"'
    )
    settings.write_text(text, "utf-8")
    result = run_quick(folder)
    record = Workspace(folder).run(result.run_id).read_result()
    assert record is not None
    assert record["greater_is_better"] is False
    assert 0 <= result.score <= 1


# Networks


NETWORK = """
import torch
from torch import nn

class 작은망(nn.Module):
    def __init__(self, num_classes, width=8):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 5, stride=4), nn.ReLU(), nn.Flatten(),
                                  nn.AdaptiveAvgPool1d(64))
        self.head = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.head(self.body(x))
"""

FEATURES = """
    def features(self, x):
        return self.body(x)
"""

OWN_NETWORK = ("model.name=망.py:작은망", "model.kwargs={width=12}")


@pytest.mark.parametrize("use", ["frozen", "finetune"])
def test_a_network_of_the_user(run_quick: Run, make_competition: Make, use: str) -> None:
    folder = make_competition(12, 4)
    (folder / "망.py").write_text(NETWORK, "utf-8")
    changes = (f"model.use={use}", *OWN_NETWORK)
    if use == "frozen":
        with pytest.raises(ConfigError, match=r"작은망 has no method features\(x\)"):
            run_quick(folder, *changes)
        (folder / "망.py").write_text(NETWORK + FEATURES, "utf-8")
        earlier = run_quick(folder, *changes)
        # Another network under the same name is another run, with features of its own.
        other = (NETWORK + FEATURES).replace("nn.ReLU()", "nn.Tanh()")
        (folder / "망.py").write_text(other, "utf-8")
        result = run_quick(folder, *changes)
        assert result.run_id != earlier.run_id
        workspace = Workspace(folder)
        two = [read_predictions(workspace.run(r.run_id).oof) for r in (earlier, result)]
        assert not np.array_equal(two[0].values, two[1].values)
    else:
        from gorae.pipeline.run import run

        from_scratch = (
            "model.weights=none", "pixels.input_size=32", "split.num_folds=2",
            "train.precision=fp32", "train.threads=1", "train.workers=0", "train.epochs=1",
            "train.batch_size=8",
        )  # fmt: skip
        result = run(folder, preset="standard", overrides=(*from_scratch, *changes))
    assert len(require_accepted(folder, result)) == 4


@pytest.mark.parametrize(
    "suffix", [".pth", pytest.param(".safetensors", marks=pytest.mark.long)]
)
def test_weights_from_a_file(
    run_quick: Run, make_competition: Make, tmp_path: Path, suffix: str
) -> None:
    folder = make_competition(12, 4)
    from gorae.models import ModelPlan, load_model

    plan = ModelPlan(name="lenet5", num_outputs=7, seed=5, pixels={"input_size": 32})
    state = load_model(plan, folder=folder).model.backbone.state_dict()
    state = {name: tensor.clone() for name, tensor in state.items()}
    file = folder / f"가중치{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state}, file)
    else:
        save_file(state, file)
    given = run_quick(folder, f"model.weights={file.name}")
    random = run_quick(folder)
    assert given.run_id != random.run_id
    workspace = Workspace(folder)
    two = [read_predictions(workspace.run(r.run_id).oof) for r in (given, random)]
    assert not np.array_equal(two[0].values, two[1].values)
    # The run no longer needs the file it began with.
    file.unlink()
    import gorae

    loaded = gorae.load_run(workspace.run(given.run_id).path)
    again = loaded.predict(folder / "test")
    kept = read_predictions(workspace.run(given.run_id).test)
    np.testing.assert_allclose(again.values, kept.values, atol=2e-5)


# What must not be touched


def test_a_solution_in_the_folder_is_never_opened(
    run_quick: Run, make_competition: Make
) -> None:
    folder = make_competition(12, 4)
    # Opening a pipe without a writer would wait for ever.
    os.mkfifo(folder / "solution.csv")
    (folder / "시험_Solution.csv").write_bytes(b"\xff\xfe\x00garbage")
    assert len(require_accepted(folder, run_quick(folder))) == 4


def test_names_in_decomposed_hangul_meet_those_in_tables(
    run_quick: Run, make_competition: Make
) -> None:
    import unicodedata

    folder = make_competition(12, 4)
    for part in ("train", "test"):
        for path in list((folder / part).iterdir()):
            decomposed = unicodedata.normalize("NFD", f"사진{path.name}")
            path.rename(path.with_name(decomposed))
    for name in ("train.csv", "sample_submission.csv"):
        table = pd.read_csv(folder / name, dtype=str)
        table["id"] = [f"사진{id_}" for id_ in table["id"]]
        if name == "sample_submission.csv":
            table["id"] = table["id"].str.normalize("NFD")
        table.to_csv(folder / name, index=False)
    result = run_quick(folder)
    answers = require_accepted(folder, result)
    # An organiser compares bytes: the ids stand as the sample writes them.
    assert answers["id"].tolist() == [
        unicodedata.normalize("NFD", f"사진t{i}") for i in range(4)
    ]


def test_korean_csv_in_cp949_is_named_and_read_on_request(
    run_quick: Run, make_competition: Make
) -> None:
    folder = make_competition(12, 4)
    for name in ("train.csv", "sample_submission.csv"):
        path = folder / name
        path.write_bytes(path.read_text("utf-8").encode("cp949"))
    with pytest.raises(DataError, match="reads as cp949: pass `--encoding cp949`"):
        run_quick(folder)
    result = run_quick(folder, encoding="cp949")
    answers = require_accepted(folder, result)
    assert set(answers["label"]) <= {"원", "상자"}
