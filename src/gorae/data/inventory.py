"""What lies in a folder before anything is known of it: pictures, tables, and their roles."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

import pandas as pd

from gorae.data.archives import extract_zip
from gorae.data.csv_text import decode_text, guess_delimiter, read_bytes, read_csv_text
from gorae.data.listing import (
    PictureFolder,
    find_nameless_dicom,
    is_picture,
    nfc,
    walk_files,
)
from gorae.errors import DataError, UserError

# Words in the names of files and folders that tell what they are for.
ROLE_WORDS = {
    "train": {"train", "training", "trn", "학습", "훈련"},
    "holdout": {"valid", "val", "validation", "dev", "holdout", "검증"},
    "test": {"test", "testing", "tst", "eval", "evaluation", "테스트", "시험", "평가"},
    "extra": {"extra", "external", "additional", "추가", "외부"},
}
ANY_ROLE = "any"
_SAMPLE_WORDS = {"sample", "submission", "submissions", "submit", "제출", "샘플"}


class Unanswered(Exception):  # noqa: N818  # it is a question, not an error
    """Stops the recognition where an answer is needed."""

    def __init__(self, question: "Question") -> None:
        super().__init__(question.text)
        self.question = question


@dataclass(frozen=True)
class Question:
    """Something the folder does not say by itself."""

    key: str
    """Name under which the answer is given."""
    text: str
    """What is asked, in one or two sentences."""
    options: tuple[str, ...]
    """The possible answers."""


@dataclass(frozen=True)
class Findings:
    """What the recognition notes as it goes, and the answers it was given."""

    answers: dict[str, str]
    evidence: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def ask(self, key: str, text: str, options: Iterable[str]) -> str:
        """The answer to a question.

        Raises:
            Unanswered: It was not given.
            UserError: It is not one of the options.
        """
        choices = tuple(options)
        if key not in self.answers:
            raise Unanswered(Question(key, text, choices))
        answer = self.answers[key]
        if answer not in choices:
            raise UserError(
                f"{answer!r} is no answer to {key!r} ({text}). Possible: {', '.join(choices)}."
            )
        self.evidence.append(f"{key} = {answer}: as answered")
        return answer


@dataclass(frozen=True)
class FoundTable:
    """A CSV file as it was read."""

    path: str
    """Below the competition's folder; may lead into a zip file."""
    frame: pd.DataFrame
    encoding: str
    delimiter: str

    def where(self) -> dict[str, str]:
        """The settings that read it again."""
        settings = {"table": self.path}
        if self.encoding != "utf-8":
            settings["encoding"] = self.encoding
        if self.delimiter != ",":
            settings["delimiter"] = self.delimiter
        return settings


@dataclass(frozen=True)
class Inventory:
    """Pictures and tables of a folder; paths may lead into zip files."""

    name: str
    """Name of the folder."""
    pictures: tuple[str, ...]
    """Paths of all pictures."""
    tables: tuple[FoundTable, ...]
    """All CSV files but solutions."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Where each file lies on the disk, absolute; for zip files, where it was unpacked."""

    def with_role(self, role: str | None) -> tuple[str, ...]:
        """The pictures in folders of a role; None: in folders of no role."""
        return self._by_role.get(role, ())

    def below(self, root: str, role: str | None = ANY_ROLE) -> PictureFolder:
        """The pictures of a role below a folder, as a source lists them."""
        if (root, role) not in self._listed:
            prefix = "" if root == "." else f"{root}/"
            chosen = self.pictures if role == ANY_ROLE else self.with_role(role)
            files = tuple(path[len(prefix) :] for path in chosen if path.startswith(prefix))
            # Whatever is listed here is a picture, by its name or by its content.
            nameless = frozenset(name for name in files if not is_picture(name))
            self._listed[root, role] = PictureFolder(root, root, files, nameless)
        return self._listed[root, role]

    @cached_property
    def _by_role(self) -> dict[str | None, tuple[str, ...]]:
        gathered: dict[str | None, list[str]] = defaultdict(list)
        for path in self.pictures:
            gathered[path_role(folder_of(path))].append(path)
        return {role: tuple(paths) for role, paths in gathered.items()}

    @cached_property
    def _listed(self) -> dict[tuple[str, str | None], PictureFolder]:
        """Folders that were asked for: their indexes are built once."""
        return {}


def words(name: str) -> set[str]:
    """The words of a name in lower case: ``trainLabels_v2.csv`` -> train, labels, v, csv."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", nfc(name))
    return {word.casefold() for word in re.findall(r"[^\W\d_]+", spaced)}


def name_role(name: str) -> str | None:
    """What one name of a file or folder says it is for."""
    found = words(name)
    # "train_test_split" says nothing; "test" wins over "val" in "eval_test".
    roles = [role for role, role_words in ROLE_WORDS.items() if role_words & found]
    return roles[0] if len(roles) == 1 else None


@cache
def path_role(path: str) -> str | None:
    """The role of the outermost folder that has one."""
    return next((role for part in path.split("/") if (role := name_role(part))), None)


def folder_of(path: str) -> str:
    """The folder of a path, ``.`` at the top."""
    return path.rpartition("/")[0] or "."


def common_folder(paths: Iterable[str]) -> str:
    """The deepest folder that holds all the files."""
    parts = [path.split("/")[:-1] for path in paths]
    depth = 0
    while all(len(p) > depth and p[depth] == parts[0][depth] for p in parts):
        depth += 1
    return "/".join(parts[0][:depth]) or "."


def is_sample(path: str) -> bool:
    """Whether a table calls itself a sample submission."""
    return bool(_SAMPLE_WORDS & words(PurePosixPath(path).name))


def take_inventory(
    folder: Path, *, extracted_root: Path, encoding: str | None, findings: Findings
) -> Inventory:
    """List a folder, look into its zip files, read its CSV files.

    Raises:
        DataError: The folder is missing, or a zip or CSV file that matters cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Name the folder of the competition.")
    places = {path: f"{folder}/{path}" for path in walk_files(folder)}
    for path in [path for path in places if path.lower().endswith(".zip")]:
        if _is_unpacked(path, places):
            findings.evidence.append(f"{path}: not used, it lies unpacked beside")
            continue
        root = extract_zip(Path(places[path]), extracted_root)
        inner = {f"{path}/{name}": f"{root}/{name}" for name in walk_files(root)}
        findings.evidence.append(f"{path}: {len(inner):,} files, unpacked to {root.name}")
        places.update(inner)
    tables = []
    for path, place in sorted(places.items()):
        if path.lower().endswith((".csv", ".tsv")):
            try:
                tables.append(_read_table(path, Path(place), encoding=encoding))
            except DataError as error:
                if path_role(path) is None and not is_sample(path) and "/" in path:
                    findings.notes.append(f"{path} is not used: {error}")
                    continue
                raise
    absolute = {path: os.path.abspath(place) for path, place in places.items()}
    nameless = find_nameless_dicom(absolute, folder)
    pictures = tuple(sorted(path for path in places if is_picture(path) or path in nameless))
    return Inventory(folder.resolve().name, pictures, tuple(tables), absolute)


def _is_unpacked(path: str, places: Iterable[str]) -> bool:
    """Whether a folder or file of the zip's name lies beside it."""
    stem = path[: -len(".zip")]
    return any(other == stem or other.startswith(f"{stem}/") for other in places)


def _read_table(path: str, place: Path, *, encoding: str | None) -> FoundTable:
    """Read a CSV: as UTF-8 where it is that, else in the encoding that was asked for."""
    data = read_bytes(place)
    used = "utf-8"
    if encoding is not None:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            used = encoding
    delimiter = (
        guess_delimiter(decode_text(data[: 1 << 20], encoding=used, name=path))
        if (len(data) <= 1 << 20)
        else guess_delimiter(data[: 1 << 16].decode(used, "replace"))
    )
    frame = read_csv_text(place, encoding=used, delimiter=delimiter)
    return FoundTable(path, frame, used, delimiter)
