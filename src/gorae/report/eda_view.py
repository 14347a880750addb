"""What the template of the page on the data shows that is worked out from the page."""

from collections.abc import Iterator
from dataclasses import dataclass

from gorae.report.eda_findings import SEVERITIES
from gorae.report.eda_galleries import Portrait, picture_facts, portraits
from gorae.report.eda_page import EdaPage, Finding, Severity
from gorae.report.eda_texts import EDA_TEXTS, tell
from gorae.report.numbers import Count, count
from gorae.report.page import PartCount
from gorae.report.texts import Text

# A verdict is read at one glance.
MAX_VERDICT = 5


@dataclass(frozen=True)
class Tile:
    """One number of the head and what it means."""

    label: Text
    value: str
    help: tuple[Text, ...]


@dataclass(frozen=True)
class EdaView:
    """What the template places."""

    tiles: tuple[Tile, ...]
    level: Severity | None
    """The gravest severity that was found; None where nothing was judged."""
    verdict: tuple[Finding, ...]
    """The few findings that matter."""
    num_findings: dict[Severity, int]
    picture_facts: tuple[tuple[Text, str], ...]
    one_size: tuple[Count, str] | None
    """How many pictures there are and their size, where all have one."""
    portraits: tuple[Portrait, ...]
    starter: str
    """Lines to set under [problem], as the data suggest; may be empty."""
    titles: tuple[str, ...]
    """Sections that are there, in order."""


def build_eda_view(page: EdaPage) -> EdaView:
    """Work out what the template places."""
    channels = page.pictures.channels if page.pictures is not None else None
    found = {finding.severity for finding in page.findings}
    return EdaView(
        tiles=tuple(_tiles(page)),
        level=next((severity for severity in SEVERITIES if severity in found), None),
        verdict=tuple(f for f in page.findings if f.severity != "fine")[:MAX_VERDICT],
        num_findings={
            severity: sum(f.severity == severity for f in page.findings)
            for severity in SEVERITIES
        },
        picture_facts=() if page.pictures is None else picture_facts(page.pictures),
        one_size=_one_size(page),
        portraits=() if channels is None else portraits(channels),
        starter=_starter(page),
        titles=_titles(page),
    )


def _tiles(page: EdaPage) -> Iterator[Tile]:
    for part in page.head.parts:
        label = tell("eda.pictures_of", part=tell(f"part.{part.part}"))
        yield Tile(label, count(part.num_images), tuple(_part_help(part)))
    if page.head.num_classes is not None:
        yield Tile(EDA_TEXTS["eda.classes"], count(page.head.num_classes), _balance(page))


def _part_help(part: PartCount) -> Iterator[Text]:
    if part.num_rows != part.num_images:
        yield tell("eda.rows", count=Count(part.num_rows))
    if part.num_quarantined:
        yield tell("eda.unreadable", count=Count(part.num_quarantined))


def _balance(page: EdaPage) -> tuple[Text, ...]:
    if page.classes is None:
        return ()
    total = page.classes.counts.drop(columns="class").sum(axis=1)
    total = total[total > 0]
    if len(total) < 2:
        return ()
    return (tell("eda.balance", ratio=f"{total.max() / total.min():.3g}"),)


def _one_size(page: EdaPage) -> tuple[Count, str] | None:
    if page.pictures is None:
        return None
    sizes = page.pictures.sizes[["width_px", "height_px"]]
    unique = sizes.drop_duplicates()
    if len(unique) != 1:
        return None
    width, height = (int(side) for side in unique.iloc[0])
    return Count(len(sizes)), f"{width} × {height}"


def _starter(page: EdaPage) -> str:
    guesses = [
        f"{answer.key} = {answer.guess}"
        for answer in (page.problem.answers if page.problem is not None else ())
        if answer.value is None and answer.guess is not None
    ]
    return "\n".join(guesses)


def _titles(page: EdaPage) -> tuple[str, ...]:
    pictures = page.pictures
    there = {
        "problem": page.problem is not None,
        "classes": page.classes is not None or page.targets is not None,
        "map": page.map is not None or page.eigen is not None,
        "pictures": pictures is not None,
        "outliers": pictures is not None and bool(pictures.outliers),
        "integrity": page.integrity is not None,
        "duplicates": page.duplicates is not None,
        "leaks": page.leaks is not None,
        "shift": page.shift is not None,
        "suspects": page.suspects is not None,
        "metadata": page.metadata is not None,
        "boxes": bool(page.boxes),
        "findings": bool(page.findings),
        "suggestions": bool(page.suggestions),
    }
    return tuple(name for name, is_there in there.items() if is_there)
