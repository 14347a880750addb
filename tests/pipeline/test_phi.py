"""Personal fields of DICOM headers leave the files only where a person asked for them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gorae.config import resolve_recipe
from gorae.data.dicom_header import PHI_COLUMNS
from gorae.pipeline.context import open_context
from gorae.pipeline.eda import eda

Make = Callable[..., bytes]
Run = Callable[..., Any]
Cli = Callable[..., Any]

PERSONAL = {
    "PatientName": "Planted^Name",
    "PatientID": "PLANTED-ID-",
    "PatientBirthDate": "19471103",
    "StudyDate": "20190228",
    "AccessionNumber": "ACC774411",
    "InstitutionName": "Planted Hospital",
    "ReferringPhysicianName": "Doctor^Planted",
    "StudyDescription": "seen because of planted words",
}
PLANTED = ("Planted", "PLANTED-ID", "19471103", "20190228", "ACC774411", "planted words")

RECIPE = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.precision=fp32",
    "train.threads=1",
)


@pytest.fixture
def folder(tmp_path: Path, make_dicom: Make) -> Path:
    """Two classes of films of twelve patients, and some to predict."""
    rng = np.random.default_rng(0)
    (tmp_path / "films" / "test").mkdir(parents=True)
    for number in range(30):
        kind = ("ill", "normal")[number % 2]
        place = tmp_path / "films" / "train" / kind / f"{number}.dcm"
        if number >= 24:
            place = tmp_path / "films" / "test" / f"{number}.dcm"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 4096, (40, 44), dtype=np.uint16)
        pixels[8:20] //= 1 + 7 * (number % 2)
        patient = f"{PERSONAL['PatientID']}{number // 4}-{number % 2}"
        fields = {**PERSONAL, "PatientID": patient, "SOPInstanceUID": f"1.2.{number}"}
        place.write_bytes(make_dicom(pixels, Modality="DX", PatientAge="045Y", **fields))
    return tmp_path / "films"


def written(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file that gorae made, as text; tables as their cells."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".dcm":
            yield path, path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                yield path, pd.read_parquet(path).to_csv()


def leaked(folder: Path) -> set[str]:
    return {
        f"{path.relative_to(folder)}: {text}"
        for path, content in written(folder)
        for text in PLANTED
        if text in content
    }


def look(folder: Path) -> None:
    eda(folder, recipe=resolve_recipe(preset="quick", overrides=RECIPE))


def test_without_phi_no_personal_field_is_in_any_file_or_message(
    folder: Path, gorae_cli: Cli, run_quick: Run
) -> None:
    spoken = gorae_cli("init", folder)
    assert not any(text in spoken.out + spoken.err for text in PLANTED)
    assert 'group_columns = [\n    "dicom.patient"' in (folder / "competition.toml").read_text()
    heard: list[str] = []
    run_quick(folder, looks=True, on_event=lambda event: heard.append(event.text))
    assert not any(text in line for line in heard for text in PLANTED)
    names = {path.name for path, _ in written(folder)}
    assert {"headers.parquet", "eda.html", "eda.json", "report.html", "oof.parquet"} <= names
    assert any(name.endswith(".csv") for name in names)
    assert leaked(folder) == set()
    columns = set(open_context(folder).tables.train)
    assert "meta.dicom.age_years" in columns
    assert not columns & {f"meta.{name}" for name in PHI_COLUMNS}


def test_with_phi_the_personal_columns_are_there_until_it_is_taken_back(
    folder: Path, gorae_cli: Cli
) -> None:
    assert gorae_cli("init", folder, "--phi").code == 0
    toml = folder / "competition.toml"
    assert "phi = true\n" in toml.read_text()
    look(folder)
    train = open_context(folder).tables.train
    assert set(train["meta.dicom.patient_name"]) == {PERSONAL["PatientName"]}
    assert set(train["meta.dicom.birth_date"]) == {PERSONAL["PatientBirthDate"]}
    assert leaked(folder / ".gorae")
    toml.write_text(toml.read_text().replace("phi = true\n", ""))
    # The steps write their files anew; nothing else is touched.
    look(folder)
    assert leaked(folder) == set()
    assert not set(open_context(folder).tables.train) & {f"meta.{name}" for name in PHI_COLUMNS}
