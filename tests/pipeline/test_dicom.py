"""DICOM competitions: recognised, grouped, their frames apart, and run to a submission."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gorae.config import read_competition
from gorae.data.decode import DecodePolicy, decode
from gorae.data.dicom_header import HEADER_COLUMNS, pseudonymise
from gorae.data.layout import recognise
from gorae.errors import ConfigError, DataError
from gorae.pipeline.context import Context, listed_images, open_context
from gorae.pipeline.init import init
from gorae.pipeline.predict import predict
from gorae.workspace import Workspace, read_predictions

Make = Callable[..., bytes]
Run = Callable[..., Any]


def write_class_folders(folder: Path, make: Make, *, extension: str = ".dcm") -> None:
    """Two classes, six patients with two pictures each."""
    rng = np.random.default_rng(0)
    for number in range(12):
        kind = ("normal", "ill")[number % 2]
        place = folder / "train" / kind / f"IM{number:04d}{extension}"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 4096, (20, 24), dtype=np.uint16)
        place.write_bytes(
            make(
                pixels,
                PatientID=f"SECRET-{number // 4}-{number % 2}",
                SOPInstanceUID=f"1.2.{number}",
                Modality="DX",
                PatientAge=f"{20 + number:03d}Y",
            )
        )


def write_headers(context: Context) -> None:
    """What preprocessing leaves beside the scan."""
    root = context.workspace.folder
    lines = []
    for image_id, path in listed_images(context.tables)[["image_id", "path"]].itertuples(
        index=False
    ):
        header = decode((root / path).read_bytes(), DecodePolicy()).header
        lines.append({"image_id": image_id, **pseudonymise(header, key=b"k" * 32)})
    context.workspace.scan.parent.mkdir(exist_ok=True)
    pd.DataFrame(lines).to_parquet(context.workspace.scan.with_name("headers.parquet"))


@pytest.mark.parametrize("extension", [".dcm", ".DICOM", "", ".1.2.840"])
def test_class_folders_are_recognised_with_patients(
    tmp_path: Path, make_dicom: Make, extension: str
) -> None:
    write_class_folders(tmp_path, make_dicom, extension=extension)
    found = recognise(tmp_path)
    assert found.settings["train"]["group_columns"] == ["dicom.patient"]
    assert found.settings["train"]["images"] == "train"
    assert "6 patients in 12 files" in "; ".join(found.evidence)
    assert "SECRET" not in repr(found)


def test_a_table_names_dicom_files_by_their_stem(tmp_path: Path, make_dicom: Make) -> None:
    write_class_folders(tmp_path, make_dicom)
    lines = [f"IM{n:04d},{'ab'[n % 2]}" for n in range(12)]
    (tmp_path / "train.csv").write_text("\n".join(["image_id,label", *lines]))
    found = recognise(tmp_path)
    assert found.settings["train"]["image_column"] == "image_id"
    assert found.settings["train"]["group_columns"] == ["dicom.patient"]
    # A column of patients goes before the headers.
    lines = [f"IM{n:04d},{'ab'[n % 2]},p{n // 3}" for n in range(12)]
    (tmp_path / "train.csv").write_text("\n".join(["image_id,label,PatientID", *lines]))
    assert recognise(tmp_path).settings["train"]["group_columns"] == ["PatientID"]


def test_headers_without_patients_propose_nothing(tmp_path: Path, make_dicom: Make) -> None:
    for number in range(6):
        place = tmp_path / "train" / "ab"[number % 2] / f"{number}.dcm"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(make_dicom(np.zeros((2, 9, 9), np.uint8), PatientID="ANON"))
    found = recognise(tmp_path)
    assert "group_columns" not in found.settings["train"]
    assert "they name no patients, or one only" in "; ".join(found.notes)
    assert "6 files hold several frames" in "; ".join(found.notes)


def test_headers_become_metadata_and_groups(tmp_path: Path, make_dicom: Make) -> None:
    write_class_folders(tmp_path, make_dicom)
    init(tmp_path)
    with pytest.raises(DataError, match="no header is read yet"):
        open_context(tmp_path)
    context = open_context(tmp_path, is_prepared=False)
    assert context.tables.group_columns == ()
    write_headers(context)
    tables = open_context(tmp_path).tables
    assert tables.group_columns == ("meta.dicom.patient",)
    assert tables.train["meta.dicom.patient"].nunique() == 6
    assert set(tables.train["meta.dicom.modality"]) == {"DX"}
    added = {name for name in map(str, tables.train) if name.startswith("meta.dicom.")}
    assert added <= {f"meta.{name}" for name in HEADER_COLUMNS}
    # What no header says is no column.
    assert "meta.dicom.view" not in tables.train
    assert "SECRET" not in tables.train.to_csv()


def test_a_picture_without_a_patient_is_a_group_of_its_own(
    tmp_path: Path, make_dicom: Make
) -> None:
    write_class_folders(tmp_path, make_dicom)
    init(tmp_path)
    for number in (0, 2):
        place = tmp_path / "train" / "normal" / f"IM{number:04d}.dcm"
        place.write_bytes(make_dicom(np.zeros((9, 9), np.uint8), SOPInstanceUID="1.2.500"))
    write_headers(open_context(tmp_path, is_prepared=False))
    tables = open_context(tmp_path).tables
    groups = tables.train.set_index("row_id")["meta.dicom.patient"]
    assert groups["train/normal/IM0000.dcm"] != groups["train/normal/IM0002.dcm"]
    notes = "; ".join(tables.notes)
    assert "2 pictures have no meta.dicom.patient" in notes
    assert "2 DICOM files share their SOPInstanceUID" in notes
    assert "train/normal/IM0000.dcm, train/normal/IM0002.dcm" in notes


def test_an_unknown_header_column_is_named(tmp_path: Path, make_dicom: Make) -> None:
    write_class_folders(tmp_path, make_dicom)
    init(tmp_path)
    file = tmp_path / "competition.toml"
    file.write_text(file.read_text().replace("dicom.patient", "dicom.doctor"))
    with pytest.raises(ConfigError, match=r"names dicom.doctor.*Known: dicom.patient"):
        open_context(tmp_path)


def write_frames(folder: Path, make: Make, rule: str) -> None:
    for number, count in enumerate((3, 1, 2)):
        place = folder / "images" / f"{number}.dcm"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(make(np.zeros((count, 8, 8), np.uint8)))
    (folder / "train.csv").write_text("id,label\n0,a\n1,b\n2,a\n")
    (folder / "test.csv").write_text("id\n0\n2\n")
    (folder / "test").mkdir()
    for number, count in ((0, 2), (2, 4)):
        (folder / "test" / f"{number}.dcm").write_bytes(make(np.zeros((count, 8, 8), np.uint8)))
    (folder / "competition.toml").write_text(
        'name = "frames"\ntask = "multiclass"\nmetric = "accuracy"\n'
        '[train]\nimages = "images"\ntable = "train.csv"\nimage_column = "id"\n'
        f'label_columns = ["label"]\nframes = "{rule}"\n'
        f'[test]\nimages = "test"\ntable = "test.csv"\nimage_column = "id"\nframes = "{rule}"\n'
    )


def test_all_frames_are_images_of_one_row(tmp_path: Path, make_dicom: Make) -> None:
    write_frames(tmp_path, make_dicom, "all")
    tables = open_context(tmp_path).tables
    assert tables.train["image_id"].tolist() == [
        *(f"images/0.dcm#frame={k}" for k in range(3)),
        "images/1.dcm",
        *(f"images/2.dcm#frame={k}" for k in range(2)),
    ]
    assert tables.train["row_id"].tolist() == [f"images/{n}.dcm" for n in (0, 0, 0, 1, 2, 2)]
    assert tables.train["label"].tolist() == list("aaabaa")
    told = [json.loads(text) if text else {} for text in tables.train["arguments"]]
    assert told == [{"frame": 0}, {"frame": 1}, {"frame": 2}, {}, {"frame": 0}, {"frame": 1}]
    assert tables.test["row_id"].tolist() == ["0"] * 2 + ["2"] * 4
    images = listed_images(tables)
    assert len(images) == 6 + 6
    assert images["image_id"].is_unique


@pytest.mark.parametrize(
    ("rule", "told"), [("first", ""), ("middle", "middle"), ("max", "max")]
)
def test_one_frame_of_each_file(tmp_path: Path, make_dicom: Make, rule: str, told: str) -> None:
    write_frames(tmp_path, make_dicom, rule)
    tables = open_context(tmp_path).tables
    assert tables.train["image_id"].tolist() == [f"images/{n}.dcm" for n in range(3)]
    for text in (*tables.train["arguments"], *tables.test["arguments"]):
        assert (json.loads(text) if text else {}) == ({"frame": told} if told else {})


def test_an_unknown_rule_is_refused(tmp_path: Path, make_dicom: Make) -> None:
    write_frames(tmp_path, make_dicom, "last")
    with pytest.raises(ConfigError, match="frames"):
        open_context(tmp_path)


# The whole job


def write_competition(
    folder: Path, make: Make, *, frames: int = 1, extra: str = "", seed: int = 0
) -> Path:
    """Twelve patients with two films each, bright or dark in the middle; six films to predict.

    Every other file is MONOCHROME1, its values turned round: it looks as if it were not.
    """
    rng = np.random.default_rng(seed)
    lines = ["id,label"]
    for number in range(30):
        is_ill, is_test = number // 2 % 2 == 1, number >= 24
        values = rng.integers(0, 1500, (frames, 32, 36), dtype=np.uint16)
        values[:, 10:22, 10:24] += np.uint16(2500 if is_ill else 300)
        kind = f"MONOCHROME{1 + number % 2}"
        if kind == "MONOCHROME1":
            values = np.uint16(4095) - values
        place = folder / ("test" if is_test else "train") / f"IM{number:04d}.dcm"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(
            make(
                values if frames > 1 else values[0],
                PhotometricInterpretation=kind,
                BitsStored=12,
                HighBit=11,
                SpecificCharacterSet="ISO_IR 192",
                PatientID=f"SECRET-ID-{number // 2:02d}",
                PatientName=f"SECRET^이름{number // 2}",
                PatientBirthDate="19640229",
                PatientAge=f"{30 + number // 2:03d}Y",
                PatientSex="MF"[number // 2 % 2],
                SOPInstanceUID=f"1.2.77.{number}",
                StudyInstanceUID=f"1.2.88.{number // 2}",
                Modality="DX",
            )
        )
        if not is_test:
            lines.append(f"IM{number:04d},{('normal', 'ill')[is_ill]}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    sample = [f"IM{number:04d},normal" for number in range(24, 30)]
    (folder / "sample_submission.csv").write_text("\n".join(["id,label", *sample]) + "\n")
    init(folder)
    file = folder / "competition.toml"
    assert list(read_competition(file).train.group_columns) == ["dicom.patient"]
    for section in ("[train]", "[test]"):
        file.write_text(file.read_text("utf-8").replace(section, f"{section}\n{extra}"))
    return folder


def read_folds(folder: Path) -> dict[str, int]:
    """The fold of each picture."""
    (path,) = (folder / ".gorae").rglob("folds.parquet")
    table = pd.read_parquet(path)
    return dict(zip(table["image_id"], table["fold"], strict=True))


def everything_written(folder: Path) -> bytes:
    """All bytes below .gorae, and of competition.toml; Parquet as the text of its cells."""
    parts = [(folder / "competition.toml").read_bytes()]
    for path in sorted((folder / ".gorae").rglob("*")):
        if path.suffix == ".parquet":
            parts.append(pd.read_parquet(path).to_csv().encode())
        elif path.is_file():
            parts.append(path.read_bytes())
    return b"\n".join(parts)


def test_a_run_on_films_keeps_patients_together_and_their_ids_in_the_files(
    tmp_path: Path, make_dicom: Make, run_quick: Run
) -> None:
    folder = write_competition(tmp_path / "films", make_dicom)
    shutil.copytree(folder, tmp_path / "again")
    result = run_quick(folder)
    sent = pd.read_csv(result.submission, dtype=str)
    assert sent["id"].tolist() == [f"IM{number:04d}" for number in range(24, 30)]
    # They differ in nothing but the middle, whichever way round they are stored.
    truth = ["normal", "normal", "ill", "ill", "normal", "normal"]
    assert sent["label"].tolist() == truth
    train = open_context(folder).tables.train
    known = {f"meta.{name}" for name in HEADER_COLUMNS}
    added = {str(name) for name in train if str(name).startswith("meta.dicom.")}
    assert {"meta.dicom.patient", "meta.dicom.age_years", "meta.dicom.photometric"} <= added
    assert added <= known
    assert set(train["meta.dicom.photometric"]) == {"MONOCHROME1", "MONOCHROME2"}
    split = read_folds(folder)
    folds = train["image_id"].map(split)
    assert folds.notna().all()
    assert set(folds.groupby(train["meta.dicom.patient"]).nunique()) == {1}
    assert folds.nunique() == 2
    # Neither ids nor what they are hashed to without the key of this competition.
    written = everything_written(folder)
    for number in range(15):
        bare = hashlib.sha256(f"id\nSECRET-ID-{number:02d}\n".encode()).hexdigest()
        assert bare.encode() not in written
        assert bare[:16].encode() not in written
    for word in ("SECRET", "이름", "19640229", "1.2.77.", "1.2.88."):
        assert word.encode() not in written
    # Another copy has another key, other pseudonyms, and the same predictions.
    other = run_quick(tmp_path / "again")
    assert Path(other.submission).read_bytes() == Path(result.submission).read_bytes()
    patients = open_context(tmp_path / "again").tables.train["meta.dicom.patient"]
    assert not set(patients) & set(train["meta.dicom.patient"])
    assert read_folds(tmp_path / "again") == split


def test_a_run_and_its_prediction_see_all_frames_and_answer_by_file(
    tmp_path: Path, make_dicom: Make, run_quick: Run
) -> None:
    folder = write_competition(
        tmp_path / "frames", make_dicom, frames=3, extra='frames = "all"'
    )
    result = run_quick(folder)
    train = open_context(folder).tables.train
    assert len(train) == 72
    split = read_folds(folder)
    assert set(train["image_id"].map(split).groupby(train["row_id"]).nunique()) == {1}
    sent = pd.read_csv(result.submission, dtype=str)
    assert sent["id"].tolist() == [f"IM{number:04d}" for number in range(24, 30)]
    kept = read_predictions(Workspace(folder).run(result.run_id).test)
    # New files are joined over their frames as the test set was: the same numbers.
    found = predict(folder, images=folder / "test").predictions
    assert found.ids == tuple(f"{name}.dcm" for name in sent["id"])
    np.testing.assert_allclose(found.values, kept.select(list(sent["id"])).values, atol=1e-6)
    # One frame that cannot be read is named, and the others speak for the file.
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(folder / "test" / "IM0024.dcm", new / "IM000024")
    (new / "broken.dcm").write_bytes((folder / "test" / "IM0025.dcm").read_bytes()[:900])
    spoken = predict(folder, images=new)
    assert spoken.predictions.ids == ("IM000024",)
    np.testing.assert_allclose(spoken.predictions.values[0], found.values[0], atol=1e-6)
    assert [line.partition(":")[0] for line in spoken.failed] == ["broken.dcm"]
    # Only the first frame, once competition.toml says so of the test set.
    file = folder / "competition.toml"
    head, _, tail = file.read_text("utf-8").partition("[test]")
    file.write_text(head + "[test]" + tail.replace('frames = "all"', 'frames = "middle"'))
    middle = predict(folder, images=folder / "test", output=tmp_path / "m.csv").predictions
    assert middle.ids == found.ids
    assert not np.allclose(middle.values, found.values, atol=1e-6)
