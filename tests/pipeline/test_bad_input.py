"""What cannot be used, given to the whole job: one message, an exit code, nothing harmed."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gorae.pipeline.context import open_context
from gorae.pipeline.init import init
from gorae.workspace import Workspace, read_frame, read_predictions

Make = Callable[..., Path]
Run = Callable[..., Any]
Cli = Callable[..., Any]


def raw_files(folder: Path) -> dict[str, str]:
    """Hashes of what the organiser gave."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".gorae" not in path.parts and path.name != "competition.toml"
    }


def edit(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def put(column: str, **values: str) -> Callable[[Path], None]:
    """Change cells of train.csv: ``row_N="text"`` is the N-th row of the file."""

    def change(folder: Path) -> None:
        def with_values(table: pd.DataFrame) -> pd.DataFrame:
            for name, value in values.items():
                table.loc[int(name.removeprefix("row_")) - 2, column] = value
            return table

        edit(folder / "train.csv", with_values)

    return change


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    """Change the bytes of a file."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def in_turn(*changes: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Several changes, one after the other."""

    def change(folder: Path) -> None:
        for each in changes:
            each(folder)

    return change


def remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink()


def declare(folder: Path, line: str = "") -> None:
    """Recognise the folder, then add a line to its competition.toml."""
    init(folder)
    settings = folder / "competition.toml"
    settings.write_text(f"{line}\n{settings.read_text('utf-8')}", "utf-8")


def regression(row: int, value: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        numbers = [f"{i / 7:.3f}" for i in range(24)]
        numbers[row - 2] = value
        edit(folder / "train.csv", lambda table: table.assign(label=numbers))
        edit(folder / "sample_submission.csv", lambda table: table.assign(label="0.5"))
        settings = (
            'name = "수"\ntask = "regression"\nmetric = "rmse"\n[train]\nimages = "train"\n'
            'table = "train.csv"\nimage_column = "id"\nlabel_columns = ["label"]\n'
        )
        (folder / "competition.toml").write_text(settings, "utf-8")

    return change


BAD_TABLES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cp949": (
        rewrite("train.csv", lambda data: data.decode().encode("cp949")),
        "pass `--encoding cp949`",
    ),
    "utf-16": (
        rewrite("train.csv", lambda data: data.decode().encode("utf-16")),
        "UTF-16 text, not utf-8: pass `--encoding utf-16`",
    ),
    "NUL": (rewrite("train.csv", lambda data: data.replace(b"s3", b"s\0", 1)), "NUL"),
    "open quote": (
        rewrite("train.csv", lambda data: data.replace(b"s3", b'"s3', 1)),
        "quote",
    ),
    "long line": (
        rewrite("train.csv", lambda data: data.replace(b"s3", b"s" * 1_100_000, 1)),
        "row 8",
    ),
    "conflicting labels": (
        rewrite("train.csv", lambda data: data + "000_0,상자,s0\n".encode()),
        "2 lines give one picture different labels: rows 2, 26",
    ),
    "most pictures missing": (
        in_turn(declare, lambda folder: remove(sorted((folder / "train").iterdir())[:15])),
        "15 of 24 lines of train.csv have no picture in",
    ),
    "no pictures": (lambda folder: shutil.rmtree(folder / "train"), "No layout was recognised"),
    "blank label": (put("label", row_4="", row_9=""), "2 labels ('') are blank: rows 4, 9"),
    "NA label": (put("label", row_4="NA"), "say that nothing is known"),
    "label with a space": (put("label", row_4="원 "), "look like one class written in 2 ways"),
    "full-width digits": (
        lambda folder: edit(
            folder / "train.csv",
            lambda t: t.assign(label=["1", "2"] * 11 + ["１", "2"]),
        ),
        "row 24",
    ),
    "1 and 01": (
        lambda folder: edit(
            folder / "train.csv", lambda t: t.assign(label=["1", "2"] * 11 + ["01", "2.0"])
        ),
        "written in 2 ways",
    ),
    "unknown class": (
        in_turn(
            lambda folder: declare(folder, 'classes = ["상자", "원"]'),
            put("label", row_5="삼각형", row_7="별"),
        ),
        "2 labels ('삼각형', '별') are not among the 2 classes (상자, 원): rows 5, 7",
    ),
    "double header": (
        rewrite("train.csv", lambda data: data.replace(b"subject", b"label", 1)),
        "column 'label' stands 2 times",
    ),
    "ragged rows": (
        rewrite("train.csv", lambda d: d.replace(b"s3\n", b"s3,x\n").replace(b",s5\n", b"\n")),
        "row 8: 4 fields, the header has 3",
    ),
    "missing group": (put("subject", row_4="", row_6="nan"), "2 lines have no value in group"),
    "number NaN": (regression(5, "nan"), "1 labels are not finite numbers"),
    "number inf": (regression(5, "inf"), "1 labels are not finite numbers"),
    "number date": (regression(5, "2021-03-29"), "(first '2021-03-29'): row 5"),
    "number full-width": (regression(6, "１２"), "row 6"),
    "path up": (put("id", row_3="../../secret"), "it leaves the folder: row 3"),
    "path absolute": (put("id", row_3="/etc/passwd"), "it is absolute: row 3"),
    "path of Windows": (put("id", row_3="C:\\그림.png"), "it is absolute: row 3"),
    "empty table": (rewrite("train.csv", lambda data: b""), "train.csv is empty"),
    "header only": (rewrite("train.csv", lambda d: d.split(b"\n")[0] + b"\n"), "a header only"),
    "empty sample": (
        rewrite("sample_submission.csv", lambda d: b"id,label\n"),
        "a header only",
    ),
    "sample ids twice": (
        rewrite("sample_submission.csv", lambda data: data + "t0,원\n".encode()),
        "2 rows share an id with another row: rows 2, 6",
    ),
    "one class": (
        lambda folder: edit(folder / "train.csv", lambda t: t.assign(label="원")),
        "train has 1 class (원): there is nothing to tell apart",
    ),
    "fewer groups than folds": (
        in_turn(
            declare,
            lambda folder: edit(folder / "train.csv", lambda t: t.assign(subject="s1")),
        ),
        "Cannot make 2 folds from 1 groups: each fold needs one of its own",
    ),
    "pipe as a table": (
        in_turn(
            lambda folder: remove([folder / "train.csv"]),
            lambda folder: os.mkfifo(folder / "train.csv"),
        ),
        "it is a folder or a device, not a file",
    ),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_table_that_cannot_be_used(make_competition: Make, gorae_cli: Cli, name: str) -> None:
    break_it, words = BAD_TABLES[name]
    folder = make_competition(12, 4)
    break_it(folder)
    before = raw_files(folder)
    said = gorae_cli("run", folder, "--json", recipe=True)
    assert said.code == 65, said.err
    error = said.json["error"]
    assert words in error["message"]
    assert error["exit_code"] == 65
    assert "Error: " in said.err
    assert raw_files(folder) == before
    assert not list(folder.glob(".gorae/runs/*"))
    assert not list(folder.glob(".gorae/submissions/*.csv"))


def test_a_fault_in_every_row_is_one_message_with_the_first_rows(
    make_competition: Make, gorae_cli: Cli
) -> None:
    folder = make_competition(40, 4)
    edit(folder / "train.csv", lambda table: table.assign(subject=[""] + ["x"] * 79))
    edit(
        folder / "train.csv",
        lambda table: table.assign(id=[f"../{name}" for name in table["id"]]),
    )
    (folder / "competition.toml").write_text(
        'name = "x"\ntask = "multiclass"\nmetric = "accuracy"\n[train]\nimages = "train"\n'
        'table = "train.csv"\nimage_column = "id"\nlabel_columns = ["label"]\n'
        'group_columns = ["subject"]\n',
        "utf-8",
    )
    said = gorae_cli("run", folder, recipe=True)
    assert said.code == 65
    assert said.out == ""
    assert "rows 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12" in said.err
    assert "(80 in all)" in said.err
    assert "1 lines have no value in group column" in said.err
    assert said.err.count("Error:") == 1


GOOD_TABLES: dict[str, Callable[[Path], Any]] = {
    "BOM": rewrite("train.csv", lambda data: b"\xef\xbb\xbf" + data),
    "semicolons": rewrite("train.csv", lambda data: data.replace(b",", b";")),
    "tabs": rewrite("train.csv", lambda data: data.replace(b",", b"\t")),
    "CRLF": rewrite("train.csv", lambda data: data.replace(b"\n", b"\r\n")),
    "newline in a field": rewrite("train.csv", lambda d: d.replace(b",s11\n", b',"s\n11"\n')),
    "same line twice": rewrite("train.csv", lambda data: data + "000_0,원,s0\n".encode()),
    "no last line end": rewrite("train.csv", lambda data: data.rstrip(b"\n")),
}


@pytest.mark.parametrize("name", GOOD_TABLES)
def test_an_unusual_table_is_read_as_it_is_meant(make_competition: Make, name: str) -> None:
    folder = make_competition(12, 4)
    GOOD_TABLES[name](folder)
    init(folder)
    context = open_context(folder)
    assert context.tables.classes == ("상자", "원")
    assert len(context.tables.train) == 24
    assert context.tables.train["meta.subject"].nunique() == 12


def test_ids_stay_text(make_competition: Make, run_quick: Run) -> None:
    folder = make_competition(12, 4)
    ids = ["00123", "1e5", "NA", "9223372036854775808"]
    for number, name in enumerate(ids):
        (folder / "test" / f"t{number}.png").rename(folder / "test" / f"{name}.png")
    edit(folder / "sample_submission.csv", lambda table: table.assign(id=ids))
    sent = pd.read_csv(run_quick(folder).submission, dtype=str, keep_default_na=False)
    assert sent["id"].tolist() == ids


def test_missing_and_unlisted_pictures_are_counted(
    make_competition: Make, run_quick: Run
) -> None:
    folder = make_competition(12, 4)
    (folder / "train" / "003_1.png").unlink()
    shutil.copy(folder / "train" / "000_0.png", folder / "train" / "덤.png")
    result = run_quick(folder)
    text = "\n".join(result.warnings)
    assert (
        "1 of 24 lines of train.csv have no picture in train: row 9; they are left out" in text
    )
    assert "1 pictures in train belong to no line of a table or match no label: 덤.png" in text


def test_test_ids_that_train_uses_too_are_noted(make_competition: Make, run_quick: Run) -> None:
    folder = make_competition(12, 4)
    (folder / "test" / "t0.png").rename(folder / "test" / "000_0.png")
    edit(folder / "sample_submission.csv", lambda t: t.assign(id=["000_0", "t1", "t2", "t3"]))
    result = run_quick(folder)
    assert "1 test ids also stand in train (first '000_0')" in "\n".join(result.warnings)


# Pictures


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def bad_pictures(folder: Path) -> dict[str, str]:
    """Spoil pictures of train in every way; returns the reason of each."""
    at = folder / "train"
    paths = sorted(at.iterdir())
    names = {
        "empty": "empty", "html": "not_image", "cut": "truncated", "flip": "corrupt",
        "eps": "format_refused", "pipe": "fifo", "socket": "socket", "folder": "folder",
        "outside": "outside", "dangling": "dangling_link", "loop": "link_loop",
        "bomb": "too_large",
    }  # fmt: skip
    place = dict(zip(names, paths[::2], strict=False))
    for how, path in place.items():
        if how == "flip":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 0x10
            path.write_bytes(data)
        elif how == "cut":
            cut(path, 0.5)
        else:
            path.unlink()
    place["empty"].write_bytes(b"")
    place["html"].write_text("<!doctype html><p>404", "utf-8")
    place["eps"].write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    os.mkfifo(place["pipe"])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(place["socket"]))
    place["folder"].mkdir()
    (folder.parent / "밖.png").write_bytes(paths[1].read_bytes())
    place["outside"].symlink_to(folder.parent / "밖.png")
    place["dangling"].symlink_to("nowhere.png")
    place["loop"].symlink_to(place["loop"].name)
    Image.new("1", (20000, 9000)).save(place["bomb"])
    return {f"train/{path.name}": names[how] for how, path in place.items()}


def test_bad_pictures_are_left_out_counted_and_named(
    make_competition: Make, gorae_cli: Cli
) -> None:
    folder = make_competition(30, 4)
    reasons = bad_pictures(folder)
    odd = folder / "train" / "029_0.png"
    Image.open(odd).convert("CMYK").save(odd, format="JPEG")
    said = gorae_cli("run", folder, "--json", recipe=True)
    assert said.code == 0, said.err
    result = said.json
    scan = read_frame(folder / ".gorae" / "scan.parquet").set_index("image_id")
    found = scan["reason"][scan["verdict"] == "quarantined"].to_dict()
    text = "\n".join(result["warnings"])
    # A folder in the place of a picture is no file for the table to find.
    folders = {name for name, reason in reasons.items() if Path(folder, name).is_dir()}
    assert found == {name: r for name, r in reasons.items() if name not in folders}
    assert f"{len(found)} pictures cannot be read: {len(found)} of train" in text
    assert "1 of 60 lines of train.csv have no picture" in text
    assert scan.loc["train/029_0.png", "verdict"] == "note"
    oof = read_predictions(Workspace(folder).run(result["run_id"]).oof)
    assert set(oof.ids) == {
        f"train/{s:03d}_{i}.png" for s in range(30) for i in range(2)
    } - set(reasons)


def test_equal_pictures_in_train_and_test_are_told(
    make_competition: Make, run_quick: Run
) -> None:
    folder = make_competition(12, 4)
    first = folder / "train" / "000_0.png"
    shutil.copy(first, folder / "test" / "t0.png")
    # Equal pixels in another encoding, of a box under the label of a disc.
    Image.open(first).save(folder / "train" / "001_0.bmp")
    (folder / "train" / "001_0.png").unlink()
    text = "\n".join(run_quick(folder).warnings)
    assert "1 test pictures have the pixels of a train picture, first test/t0.png" in text
    assert "2 train pictures have the pixels of another one with another label" in text


def test_all_test_pictures_broken_gives_the_prior_everywhere(
    make_competition: Make, gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    for path in (folder / "test").iterdir():
        path.write_bytes(b"")
    said = gorae_cli("run", folder, "--json", recipe=True)
    assert said.code == 0, said.err
    text = "\n".join(said.json["warnings"])
    assert "4 pictures cannot be read: 0 of train, left out, and 4 of test" in text
    assert "4 of 4 rows hold the class prior" in text
    target = Workspace(folder).run(said.json["run_id"])
    np.testing.assert_allclose(read_predictions(target.test).values, 0.5, atol=1e-6)


def test_one_picture_of_a_class_trains_where_it_does_not_validate(
    make_competition: Make, gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    put("label", row_2="별")(folder)
    said = gorae_cli("run", folder, "--json", recipe=True)
    assert said.code == 0, said.err
    text = "\n".join(said.json["warnings"])
    assert "Class '별' is never in the train part of fold" in text
    assert "it has one row" in text


def test_one_picture_per_class_still_ends_in_a_submission(
    make_competition: Make, gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    edit(
        folder / "train.csv",
        lambda table: table.assign(label=[f"이름{i}" for i in range(24)]).drop(
            columns="subject"
        ),
    )
    edit(folder / "sample_submission.csv", lambda table: table.assign(label="이름0"))
    said = gorae_cli("run", folder, "--json", recipe=True)
    assert said.code == 0, said.err


def test_identical_pictures_are_one_group(make_competition: Make, gorae_cli: Cli) -> None:
    folder = make_competition(12, 4)
    edit(folder / "train.csv", lambda table: table.drop(columns="subject"))
    first = (folder / "train" / "000_0.png").read_bytes()
    for path in (folder / "train").iterdir():
        path.write_bytes(first)
    said = gorae_cli("run", folder, recipe=True)
    assert said.code == 65
    assert "Cannot make 2 folds from 1 groups" in said.err


# Folders, settings, machine


def test_folders_that_are_none(tmp_path: Path, gorae_cli: Cli) -> None:
    assert gorae_cli("run", tmp_path / "없음").code == 64
    (tmp_path / "파일").write_text("x", "utf-8")
    said = gorae_cli("run", tmp_path / "파일")
    assert said.code == 64
    assert "파일" in said.err
    (tmp_path / "빈 폴더").mkdir()
    said = gorae_cli("run", tmp_path / "빈 폴더", "--json")
    assert said.code == 65
    assert "no pictures and no CSV files" in said.json["error"]["message"]
    assert list((tmp_path / "빈 폴더").iterdir()) == []


SETTINGS: dict[str, tuple[list[str], int, str]] = {
    "unknown setting": (["--set", "train.lrr=1"], 64, "near: train.lr"),
    "unknown preset": (["--preset", "quickest"], 64, "quick"),
    "dead setting": (["--set", "train.epochs=3"], 64, "the backbone is frozen"),
    "wrong value": (["--set", "split.num_folds=1"], 64, "split.num_folds"),
    "unknown model": (["--set", "model.name=mobilnetv2_100"], 64, "mobilenetv2_100"),
    "missing weights": (["--set", "model.weights=없음.pth"], 64, "없음.pth"),
    "missing recipe": (["--recipe", "없음.toml"], 64, "There is no"),
    "as_is without table": (["--set", "model.use=as_is"], 64, "as_is"),
    "wrong budget": (["--budget", "soon"], 64, "soon"),
    "unknown answer": (["--answer", "metric"], 64, "not of the form key=value"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_cannot_be_used(
    make_competition: Make, gorae_cli: Cli, name: str
) -> None:
    arguments, code, words = SETTINGS[name]
    folder = make_competition(6, 4)
    quickest = ["--set", "model.name=lenet5", "--set", "model.weights=none"]
    said = gorae_cli("run", folder, *quickest, *arguments, "--json")
    assert said.code == code, said.err
    assert words in said.json["error"]["message"]
    assert not list(folder.glob(".gorae/runs/*"))


def test_unknown_keys_of_competition_toml_are_named_at_once(
    make_competition: Make, gorae_cli: Cli
) -> None:
    folder = make_competition(6, 4)
    assert gorae_cli("init", folder).code == 0
    settings = folder / "competition.toml"
    text = settings.read_text("utf-8")
    broken = text.replace('metric = "accuracy"', 'metrik = "accuracy"\nmetric = "akkuracy"')
    broken = broken.replace("image_column", "imagecolumn", 1)
    settings.write_text(broken, "utf-8")
    said = gorae_cli("run", folder, recipe=True)
    assert said.code == 64
    for words in ("metrik: no such setting; near: metric", "imagecolumn: no such setting"):
        assert words in said.err
    settings.write_text("name = \n", "utf-8")
    said = gorae_cli("run", folder, recipe=True)
    assert said.code == 64
    assert "cannot be read as TOML" in said.err
    assert settings.read_text("utf-8") == "name = \n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('metric = "accuracy"', 'metric = "rmse"', "Metric rmse does not fit task multiclass"),
        ('metric = "accuracy"', 'metric = "없음.py:점수"', "없음.py"),
        ('kind = "label"', 'kind = "value"', "kind 'value' does not belong to task"),
        ('kind = "label"', 'kind = "probability"', "column 'label' is not a class"),
    ],
)
def test_what_would_fail_at_the_end_is_told_before_any_work(
    make_competition: Make, gorae_cli: Cli, old: str, new: str, words: str
) -> None:
    folder = make_competition(6, 4)
    declare(folder)
    settings = folder / "competition.toml"
    text = settings.read_text("utf-8")
    assert old in text
    settings.write_text(text.replace(old, new), "utf-8")
    said = gorae_cli("run", folder, recipe=True)
    assert said.code == 64
    assert words in said.err
    assert not (folder / ".gorae").exists()


def test_an_open_question_is_an_error_where_nobody_can_answer(
    make_competition: Make, gorae_cli: Cli
) -> None:
    folder = make_competition(40, 4)
    edit(folder / "train.csv", lambda t: t.assign(label=[str(i) for i in range(80)]))
    edit(folder / "sample_submission.csv", lambda t: t.assign(label="0"))
    said = gorae_cli("run", folder, "--json", recipe=True)
    assert said.code == 65
    assert "--answer task=multiclass | regression" in said.json["error"]["message"]
    assert not (folder / "competition.toml").exists()
    said = gorae_cli("run", folder, "--json", "--answer", "task=regression", recipe=True)
    assert said.code == 0, said.err
    assert said.json["metric"] == "rmse"


def test_weights_of_the_hub_offline_are_a_quick_message(
    make_competition: Make, gorae_cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = make_competition(6, 4)
    said = gorae_cli(
        "run", folder, "--set", "model.name=test_resnet", "--set", "model.weights=hub", "--json"
    )
    assert said.code == 64
    message = said.json["error"]["message"]
    assert "are not in the cache and cannot be fetched" in message
    assert "Expected: " in message
    assert 'model.weights = "none"' in message


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small file system of its own")
def test_a_disk_without_room_is_said_before_it_is_full(
    make_competition: Make, tmp_path: Path
) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let a user mount")
    folder = make_competition(12, 4)
    small = tmp_path / "작은 디스크"
    small.mkdir()
    script = (
        'mount -t tmpfs -o size=3m tmpfs "$2" && cp -r "$1/." "$2" && "$3" -m gorae run "$2" '
        "--set model.name=lenet5 --set model.weights=none --set pixels.input_size=32"
    )
    said = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", str(folder), str(small), sys.executable],
        check=False,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 74, said.stderr
    assert "Traceback" not in said.stderr
    assert "Free some space" in said.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(make_competition: Make, gorae_cli: Cli) -> None:
    folder = make_competition(6, 4)
    folder.chmod(0o555)
    try:
        said = gorae_cli("run", folder, recipe=True)
    finally:
        folder.chmod(0o755)
    assert said.code == 74
    assert "Make the folder writable" in said.err
