"""Subjects are proposed where names or columns repeat as subjects do, and nowhere else."""

import hashlib
import uuid
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from gorae.data.labels import match_group
from gorae.eda.subjects import subject_columns

NOTHING = pd.DataFrame(index=range(0))
# Pictures (subject, picture number): 40 subjects of 3 to 7 pictures.
SEEN = [(s, n) for s in range(1, 41) for n in range(1, 4 + s % 5)]
PEOPLE = [
    f"{family}{given}"
    for family in "김이박최정강조윤"
    for given in ("민준", "서연", "도윤", "지우", "하은")
]

Naming = Callable[[int, int], str]

WITH_SUBJECTS: dict[str, Naming] = {
    "patient_012_01.png": lambda s, n: f"patient_{s:03d}_{n:02d}.png",
    "chest films": lambda s, n: f"{1300 + s:08d}_{n:03d}.jpg",
    "S01T02": lambda s, n: f"S{s:02d}T{n:02d}.jpg",
    "dashes": lambda s, n: f"img-{s}-{n}.jpeg",
    "label first": lambda s, n: f"{'cat' if n % 2 else 'dog'}_person{s}_{n}.jpg",
    "subject last": lambda s, n: f"{n}_p{s:02d}.jpg",
    "mask competition": lambda s, n: f"{s:06d}_female_Asian_{20 + s}/mask{n}.jpg",
    "mammograms": lambda s, n: f"{10000 + s}/{1459541791 + 977 * s + n}.png",
    "below class folders": lambda s, n: f"{'ab'[n % 2]}/person{s}/{n}.jpg",
    "numbers below class folders": lambda s, n: f"{'ab'[s % 2]}/{s}/{n}.jpg",
    "Korean names": lambda s, n: f"{PEOPLE[s - 1]}_{n:02d}.jpg",
    "Korean folders": lambda s, n: f"환자{s:02d}/사진 {n}.jpg",
    "augmented copies": lambda s, n: f"{s:05d}_aug{n}.jpg",
    "video frames": lambda s, n: f"frames/video{s}_frame{n * 30:05d}.png",
    "dots": lambda s, n: f"bird.{s}.{n}.jpg",
    "date after subject": lambda s, n: f"p{s:03d}_2021-03-{n + 9}_1.jpg",
}


@pytest.mark.parametrize("naming", WITH_SUBJECTS)
def test_subjects_in_paths_are_found_and_the_pattern_gives_them(naming: str) -> None:
    paths = [WITH_SUBJECTS[naming](s, n) for s, n in SEEN]
    subjects = np.array([s for s, _ in SEEN])

    first = subject_columns(paths, NOTHING, labels=[n % 2 for _, n in SEEN])[0]

    assert first.group_pattern is not None
    read = [match_group(first.group_pattern, "group", path) for path in paths]
    assert None not in read
    expected = pd.factorize(subjects)[0]
    assert np.array_equal(pd.factorize(pd.Series(read))[0], expected)
    assert np.array_equal(first.groups, expected)
    assert first.num_values == 40
    assert first.largest == 7
    assert "40 values" in first.evidence
    assert first.example.startswith(paths[0])


def test_names_of_another_make_are_subjects_of_their_own() -> None:
    """As in a set of chest films: person1_bacteria_2.jpeg beside IM-0115-0001.jpeg."""
    paths = [f"PNEUMONIA/person{s}_bacteria_{7 * s + n}.jpeg" for s, n in SEEN]
    paths += [f"NORMAL/NORMAL-{n}.jpeg" for n in range(60)]

    first = subject_columns(paths, NOTHING, labels=[path[0] for path in paths])[0]

    assert first.num_values == 100
    assert first.group_pattern is not None
    assert (
        match_group(first.group_pattern, "group", "PNEUMONIA/person7_virus_1.jpeg") == "person7"
    )


def hashed(s: int, n: int) -> str:
    return hashlib.sha256(f"{s} {n}".encode()).hexdigest()


WITHOUT_SUBJECTS: dict[str, Naming] = {
    "cat.0.jpg": lambda s, n: f"{'cat' if n % 2 else 'dog'}.{10 * s + n // 2}.jpg",
    "counters": lambda s, n: f"IMG_{1000 + 10 * s + n}.jpg",
    "bare counters": lambda s, n: f"{10 * s + n}.jpg",
    "class folders": lambda s, n: f"{'abcdefghijkl'[s % 12]}/{10 * s + n}.jpg",
    "class folders of train": lambda s, n: f"train/{'ab'[n % 2]}/img_{10 * s + n}.jpg",
    "class names": lambda s, n: f"{'abcdefghijkl'[s % 12]}_{10 * s + n}.jpg",
    "uuids": lambda s, n: f"{uuid.UUID(hashed(s, n)[:32], version=4)}.jpg",
    "hashes": lambda s, n: f"{hashed(s, n)[:8]}.jpg",
    "long hashes": lambda s, n: f"images/{hashed(s, n)}.png",
    "phone camera": lambda s, n: f"202103{1 + s % 28:02d}_{10 + n:02d}{s:02d}17.jpg",
    "dates": lambda s, n: f"2021-03-{1 + s % 28:02d} {10 + n:02d}.{s:02d}.17.png",
    "skin lesions": lambda s, n: f"ISIC_{15719 + 10 * s + n:07d}_downsampled.jpg",
    "digits by class": lambda s, n: f"{s % 12}_{10 * s + n:05d}.png",
}


@pytest.mark.parametrize("naming", WITHOUT_SUBJECTS)
def test_counters_dates_classes_and_random_names_are_no_subjects(naming: str) -> None:
    paths = [WITHOUT_SUBJECTS[naming](s, n) for s, n in SEEN]
    labels = [n % 2 for _, n in SEEN]
    if "class" in naming:
        labels = [s % 12 for s, _ in SEEN] if "train" not in naming else labels
    assert subject_columns(paths, NOTHING, labels=labels) == ()


def test_columns_of_subjects_are_told_from_measurements() -> None:
    rng = np.random.default_rng(0)
    num = len(SEEN)
    people = np.array([s for s, _ in SEEN])
    shuffled = rng.permutation(num)
    metadata = pd.DataFrame(
        {
            "meta.age": rng.integers(20, 90, 41)[people].astype(str)[shuffled],
            "meta.sex": np.array(["M", "F"])[people % 2][shuffled],
            "meta.weight": (50 + people / 7).round(1).astype(str)[shuffled],
            "meta.taken": [f"2021-03-{1 + s % 28:02d}" for s in people[shuffled]],
            "meta.nurse": [f"p{s:03d}" for s in people[shuffled]],
            "meta.환자번호": people.astype(str)[shuffled],
            "meta.site": np.array(["a1", "b2", "c3"])[people % 3][shuffled],
        }
    )
    names = [f"{place}.jpg" for place in range(num)]

    found = subject_columns(names, metadata, labels=(people % 2)[shuffled].tolist())

    # Both columns tell the same people; the one called so stands for both.
    assert [one.group_column for one in found] == ["환자번호"]
    assert "100% of the values have one label only" in found[0].evidence
    only = subject_columns(names, metadata.drop(columns="meta.환자번호"))
    assert [one.group_column for one in only] == ["nurse"]


def test_numbers_whose_equal_values_stand_together_are_proposed() -> None:
    people = [s for s, _ in SEEN]
    metadata = pd.DataFrame({"meta.number": [str(s) for s in people]})
    found = subject_columns([f"{place}.jpg" for place in range(len(people))], metadata)
    assert [one.group_column for one in found] == ["number"]
    assert "equal values stand together" in found[0].evidence


def test_no_pictures_have_no_subjects() -> None:
    assert subject_columns([], NOTHING) == ()
