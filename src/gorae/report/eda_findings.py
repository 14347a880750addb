"""What the numbers of the page on the data mean: what stops, what to look at, what is fine."""

from collections.abc import Callable

from gorae.report import eda_dangers as dangers
from gorae.report.eda_galleries import outlier_groups
from gorae.report.eda_page import EdaPage, Finding, Severity
from gorae.report.eda_texts import EDA_TEXTS
from gorae.report.eda_wording import Found, code, make_finding, plural
from gorae.report.numbers import count

# From the first on, a macro score and accuracy part; from the second on, plain training drowns
# the smallest class.
UNEVEN, VERY_UNEVEN = 3.0, 10.0
# A class that five folds cannot share.
FEWEST_ROWS = 5

SEVERITIES: tuple[Severity, ...] = ("stops", "look", "fine")


def data_findings(page: EdaPage) -> tuple[Finding, ...]:
    """Judge every section that ``page`` has; the gravest first, else in the page's order."""
    parts: tuple[Callable[[EdaPage], Found], ...] = (
        dangers.chain, dangers.leaks, dangers.subjects, _files, _classes, dangers.duplicates,
        dangers.shift, dangers.suspects, _boxes, _outliers, _problem,
    )  # fmt: skip
    found = [finding for part in parts for finding in part(page)]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def _files(page: EdaPage) -> Found:
    files = page.integrity
    if files is None:
        return
    tables = {
        "quarantined": files.quarantined, "missing": files.missing, "unlisted": files.unlisted
    }  # fmt: skip
    counts = {name: 0 if table is None else len(table) for name, table in tables.items()}
    if not any(counts.values()):
        yield make_finding(
            "fine",
            "integrity",
            (
                f"All {plural(files.num_files, 'file|files')} are listed, there and readable.",
                f"파일 {count(files.num_files)}개가 모두 목록에 있고 정상적으로 읽힙니다.",
            ),
        )
    if n := counts["quarantined"]:
        yield make_finding(
            "look",
            "integrity",
            (
                f"{plural(n, 'picture|pictures')} cannot be read.",
                f"사진 {count(n)}장을 읽을 수 없습니다.",
            ),
            (
                "Get the files again. Until then train leaves them out, and test rows get the "
                "stated fallback answer.",
                "파일을 다시 받으세요. 그때까지 학습에서는 빼고, 테스트 행에는 정해진 대체 "
                "답을 넣습니다.",
            ),
        )
    if n := counts["missing"]:
        yield make_finding(
            "look",
            "integrity",
            (
                f"{plural(n, 'listed picture is|listed pictures are')} not on disk.",
                f"목록에 있는 사진 {count(n)}장이 없습니다.",
            ),
            (
                "Check that everything was unpacked and that `images` names the right folder.",
                "압축을 모두 풀었는지, `images`가 올바른 폴더인지 확인하세요.",
            ),
        )
    if n := counts["unlisted"]:
        yield make_finding(
            "look",
            "integrity",
            (
                f"{plural(n, 'picture on disk belongs|pictures on disk belong')} to no row.",
                f"어느 행에도 속하지 않는 사진이 {count(n)}장 있습니다.",
            ),
            (
                "They are not used. Were labels lost on the way?",
                "사용하지 않습니다. 레이블이 빠진 것은 아닌지 확인하세요.",
            ),
        )


def _classes(page: EdaPage) -> Found:
    if page.classes is None:
        return
    if unseen := page.classes.never_seen:
        names = ", ".join(code(name) for name in unseen[:3]) + (", …" if unseen[3:] else "")
        yield make_finding(
            "look",
            "classes",
            (
                f"{plural(len(unseen), 'class has|classes have')} no train row: {names}.",
                f"학습 행이 없는 클래스가 {count(len(unseen))}개 있습니다: {names}.",
            ),
            (
                "No model can learn them: find pictures, or answer them by a rule "
                "(unknown, nearest).",
                "모델이 배울 수 없습니다. 사진을 더 구하거나, 규칙(미등록 처리 등)으로 "
                "답하세요.",
            ),
        )
    if missed := page.classes.not_in_test:
        names = ", ".join(code(name) for name in missed[:3]) + (", …" if missed[3:] else "")
        yield make_finding(
            "look",
            "classes",
            (
                f"{plural(len(missed), 'class seems|classes seem')} to be missing from test: "
                f"{names}.",
                f"테스트에 없는 듯한 클래스가 {count(len(missed))}개 있습니다: {names}.",
            ),
            (
                "Train and test then differ; compare scores with care.",
                "학습과 테스트가 다를 수 있으니 점수를 조심해서 비교하세요.",
            ),
        )
    total = page.classes.counts.drop(columns="class").sum(axis=1)
    total = total[total > 0]
    if len(total) < 2:
        return
    few = int((total < FEWEST_ROWS).sum())
    if few:
        yield make_finding(
            "look",
            "classes",
            (
                f"{plural(few, 'class has|classes have')} fewer than {FEWEST_ROWS} rows: not "
                "every fold can hold one.",
                f"{FEWEST_ROWS}행보다 적은 클래스가 {count(few)}개여서 모든 폴드에 나눌 수 "
                "없습니다.",
            ),
            (
                "Read their scores with care; nearest-neighbour answers suit such classes.",
                "이런 클래스의 점수는 조심해서 읽으세요. 최근접 이웃 방식이 잘 맞습니다.",
            ),
        )
    ratio = float(total.max() / total.min())
    severity: Severity = "look" if ratio >= UNEVEN else "fine"
    strong = ratio >= VERY_UNEVEN
    yield make_finding(
        severity,
        "classes",
        (
            f"{plural(len(total), 'class|classes')}; the largest is {ratio:.3g} times the "
            "smallest.",
            f"클래스 {count(len(total))}개, 가장 큰 클래스가 가장 작은 클래스의 "
            f"{ratio:.3g}배입니다.",
        ),
        None
        if severity == "fine"
        else (
            "Compare scores that weigh classes alike (macro F1)"
            + (', and try `train.sampler = "weighted"` in a recipe.' if strong else "."),
            "클래스를 똑같이 보는 점수(매크로 F1)로 비교하세요."
            + (' 레시피에서 `train.sampler = "weighted"`도 시도해 보세요.' if strong else ""),
        ),
    )


def _boxes(page: EdaPage) -> Found:
    for boxes in page.boxes:
        if boxes.kind == "faces":
            continue
        if n := len(boxes.faults):
            yield make_finding(
                "look",
                "boxes",
                (
                    f"{plural(n, 'box|boxes')} cannot be used.",
                    f"쓸 수 없는 상자가 {count(n)}개 있습니다.",
                ),
                (
                    "Correct the table, or `box_format` in competition.toml.",
                    "표를 고치거나 competition.toml의 `box_format`을 고치세요.",
                ),
            )
        if n := boxes.num_outside:
            yield make_finding(
                "look",
                "boxes",
                (
                    f"{plural(n, 'box reaches|boxes reach')} outside the picture.",
                    f"사진 밖으로 나가는 상자가 {count(n)}개 있습니다.",
                ),
                (
                    "See whether they sit right: `box_format` may be the other one, or the "
                    "boxes were measured on pictures of another size.",
                    "상자가 제자리에 있는지 보세요. `box_format`이 다르거나, 다른 크기의 "
                    "사진에서 잰 상자일 수 있습니다.",
                ),
            )
        elif boxes.num_with:
            yield make_finding(
                "fine",
                "boxes",
                (
                    f"{count(boxes.num_with)} of {count(boxes.num_images)} pictures have a "
                    "box, and none reaches outside.",
                    f"사진 {count(boxes.num_images)}장 중 {count(boxes.num_with)}장에 상자가 "
                    "있고, 모두 사진 안에 있습니다.",
                ),
            )


def _outliers(page: EdaPage) -> Found:
    if page.pictures is None:
        return
    n = page.pictures.num_outliers
    n = len(page.pictures.outliers) if n is None else n
    kinds = [EDA_TEXTS[f"outlier.{kind}"] for kind in outlier_groups(page.pictures.outliers)]
    if n:
        yield make_finding(
            "look",
            "outliers",
            (
                f"{plural(n, 'picture stands|pictures stand')} out"
                f"{': ' if kinds else ''}{', '.join(kind.en for kind in kinds)}.",
                f"눈에 띄게 다른 사진이 {count(n)}장 있습니다"
                f"{': ' if kinds else ''}{', '.join(kind.ko for kind in kinds)}.",
            ),
            (
                "See whether a person could answer them.",
                "사람이 보고 답할 수 있는지 확인하세요.",
            ),
        )


def _problem(page: EdaPage) -> Found:
    if page.problem is None:
        return
    still = sum(answer.value is None for answer in page.problem.answers)
    if still:
        yield make_finding(
            "look",
            "problem",
            (
                f"{plural(still, 'question|questions')} on the problem "
                f"{'is' if still == 1 else 'are'} not answered.",
                f"문제 정의에서 답하지 않은 항목이 {count(still)}개 있습니다.",
            ),
            (
                "Answer them: they decide which augmentations are safe.",
                "답해 주세요. 어떤 증강이 안전한지가 여기에서 정해집니다.",
            ),
        )
