"""DICOM competitions from the folder to the tables: recognised, grouped, their frames apart."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gorae.data.decode import DecodePolicy, decode
from gorae.data.dicom_header import HEADER_COLUMNS, pseudonymise
from gorae.data.layout import recognise
from gorae.errors import ConfigError, DataError
from gorae.pipeline.context import Context, listed_images, open_context
from gorae.pipeline.init import init

Make = Callable[..., bytes]


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
