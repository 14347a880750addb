"""What in the data would make a score lie, in sentences: duplicates, leaks, shift, labels."""

import pandas as pd

from gorae.data.sources import META_PREFIX
from gorae.report.eda_page import EdaPage, Finding, Severity
from gorae.report.eda_subjects import subject_place
from gorae.report.eda_texts import EDA_TEXTS
from gorae.report.eda_wording import Found, code, group_setting, make_finding, plural
from gorae.report.numbers import count, number, percent
from gorae.report.texts import Text

# Lower end of the interval of an AUC. Above it a column alone nearly answers, and a score says
# little about pictures.
LEAK_STOPS = 0.9

# Share of labels beyond which a model that contradicts them is itself the likelier cause: of
# ten well-known test sets people found 3.3 % of the labels wrong on average, and 10.1 % of the
# worst (Northcutt et al., 2021).
MANY_SUSPECTS = 0.1


def chain(page: EdaPage) -> Found:
    """A set of look-alikes too large to be joined unasked."""
    found = page.duplicates.chain if page.duplicates is not None else None
    if found is None:
        return
    share = percent(found.share)
    best = found.columns[0] if found.columns else None
    total = found.num_images / found.share
    enough = found.thresholds[found.thresholds["largest"] <= found.limit * total]
    yield make_finding(
        "stops",
        "duplicates",
        (
            f"{count(found.num_images)} look-alikes hang together as one set, {share} of all "
            "pictures. Joined, they would fill a fold; apart, they would leak.",
            f"닮은 사진 {count(found.num_images)}장(전체의 {share})이 한 묶음으로 이어집니다. "
            f"묶으면 한 폴드를 채우고, 나누면 누출이 됩니다.",
        ),
        _CHAIN_BY_COLUMN if best is not None or enough.empty else _CHAIN_BY_THRESHOLD,
        setting=None if best is None else group_setting(best),
    )


_CHAIN_BY_THRESHOLD = (
    "Choose a threshold (`split.similarity` in a recipe) that leaves it small enough, or name "
    "the column that says what belongs together.",
    "묶음이 충분히 작아지는 기준값(레시피의 `split.similarity`)을 고르거나, 함께 묶을 열을 "
    "지정하세요.",
)
_CHAIN_BY_COLUMN = (
    "Name the column or the part of the path that says what belongs together; only if they "
    "are different pictures that merely look alike, set `split.near_duplicates = false` in a "
    "recipe.",
    "함께 묶을 열이나 경로의 부분을 지정하세요. 서로 다른 사진이 닮기만 한 것이라면 레시피에 "
    "`split.near_duplicates = false`를 적으세요.",
)


def duplicates(page: EdaPage) -> Found:
    """Conflicting labels, pictures in train and test, pictures twice in train."""
    if page.duplicates is None:
        return
    table = page.duplicates.counts.set_index("where")
    pairs = (table["exact"] + table["near"]).astype(int)
    across, within = int(pairs.get("train_test", 0)), int(pairs.get("train", 0))
    conflicts = int(table["conflicts"].sum())
    if conflicts:
        yield make_finding(
            "look",
            "duplicates",
            (
                f"{plural(conflicts, 'pair|pairs')} of equal pictures carry different labels: "
                "one of each is wrong.",
                f"같은 사진인데 레이블이 다른 쌍이 {count(conflicts)}개 있습니다. 한쪽은 "
                "잘못입니다.",
            ),
            (
                "Look at them and correct `labels.csv`.",
                "확인하고 `labels.csv`에서 고치세요.",
            ),
        )
    if across:
        yield make_finding(
            "look",
            "duplicates",
            (
                f"{plural(across, 'pair|pairs')} of a train and a test picture are the same "
                f"or nearly.",
                f"학습과 테스트에 같거나 거의 같은 사진이 {count(across)}쌍 있습니다.",
            ),
            (
                "The score on the test set will flatter. Check whether the rules allow using "
                "it.",
                "테스트 점수가 부풀려집니다. 규칙상 사용해도 되는지 확인하세요.",
            ),
        )
    if within:
        yield make_finding(
            "fine" if page.duplicates.chain is None else "look",
            "duplicates",
            (
                f"{plural(within, 'pair|pairs')} of duplicates within train.",
                f"학습 안에 중복이 {count(within)}쌍 있습니다.",
            ),
            None
            if page.duplicates.chain is not None
            else (
                "Nothing: `gorae split` keeps each set in one fold.",
                "할 일 없음: `gorae split`이 각 묶음을 한 폴드에 둡니다.",
            ),
        )
    if not (across or within or conflicts):
        yield make_finding(
            "fine",
            "duplicates",
            ("No picture is there twice.", "두 번 나오는 사진이 없습니다."),
        )


def leaks(page: EdaPage) -> Found:
    """What beside the pixels predicts the label, the strongest column of each kind."""
    if page.leaks is None or not len(page.leaks.table):
        return
    table = page.leaks.table
    told = table[table["is_reported"].to_numpy(bool)]
    if not len(told):
        yield make_finding(
            "fine",
            "leaks",
            (
                "Nothing beside the pixels predicts the label.",
                "픽셀 외에 레이블을 예측하는 것이 없습니다.",
            ),
        )
    for kind, (what, do) in LEAK_WORDS.items():
        ours = told[told["kind"] == kind]
        if not len(ours):
            continue
        first = ours.sort_values("score", ascending=False, kind="stable").iloc[0]
        measure = "AUC" if first["measure"] == "AUC" else "ρ"
        shown = f"{number(first['score'])}, {number(first['low'])} – {number(first['high'])}"
        name, score = _strongest(ours), f"{measure} {shown}"
        is_strong = first["measure"] == "AUC" and first["low"] > LEAK_STOPS
        yield Finding(
            severity=_severity(kind, is_strong=bool(is_strong)),
            section="leaks",
            what=Text(
                what.en.format(name=name.en, score=score),
                what.ko.format(name=name.ko, score=score),
            ),
            do=do,
        )


def _severity(kind: str, *, is_strong: bool) -> Severity:
    """A trace of how files were made may be all that is learned; their size seldom is."""
    weak: dict[str, Severity] = {"order": "fine", "content": "fine"}
    strong: dict[str, Severity] = {"order": "fine", "content": "look", "artefact": "stops"}
    return (strong if is_strong else weak).get(kind, "look")


LEAK_WORDS = {
    "artefact": (
        Text(
            "How the files were made predicts the label: {name} ({score}).",
            "파일이 만들어진 방식만으로 레이블이 예측됩니다: {name} ({score}).",
        ),
        Text(
            "A network may learn that trace instead of the subject. See whether test pictures "
            "have it, and remove it (crop, re-encode) if not.",
            "대상 대신 그 흔적을 배울 수 있습니다. 테스트에도 있는지 보고, 없다면 자르거나 "
            "다시 저장해 없애세요.",
        ),
    ),
    "metadata": (
        Text(
            "The metadata predict the label without a picture: {name} ({score}).",
            "사진 없이 메타데이터만으로 레이블이 예측됩니다: {name} ({score}).",
        ),
        Text(
            "If the test table has the column too, it is knowledge: compare any model with it.",
            "테스트 표에도 있는 열이면 쓸모 있는 정보입니다. 모델을 이 점수와 비교하세요.",
        ),
    ),
    "content": (
        Text(
            "The size of the files goes with the label ({score}).",
            "파일 크기가 레이블과 함께 달라집니다({score}).",
        ),
        Text(
            "Usually what the pictures show: detail takes bytes. If one class was saved "
            "otherwise, save all alike.",
            "대개는 사진 내용 때문입니다. 복잡할수록 파일이 큽니다. 한 클래스만 다르게 "
            "저장되었다면 모두 같은 방식으로 다시 저장하세요.",
        ),
    ),
    "order": (
        Text(
            "The train table is sorted by label ({score}).",
            "학습 표가 레이블 순서로 정렬되어 있습니다({score}).",
        ),
        Text(
            "Nothing: folds do not depend on the order.", "폴드는 순서와 무관하므로 괜찮습니다."
        ),
    ),
}


def _is_together(column: object) -> bool:
    return str(column).endswith(" together")


def _strongest(told: pd.DataFrame) -> Text:
    """The column with the best score; of all together, the best single one as well."""
    columns = told.sort_values("score", ascending=False, kind="stable")["column"].tolist()
    first = leak_name(columns[0])
    singles = [column for column in columns if not _is_together(column)]
    if not (_is_together(columns[0]) and singles):
        return first
    best = leak_name(singles[0])
    return Text(f"{first.en}, above all {best.en}", f"{first.ko}, 그중 {best.ko}")


def leak_name(name: object) -> Text:
    """Name of a column: what is ours in words, a column of metadata as code."""
    ours = EDA_TEXTS.get(f"leak.{name}")
    bare = code(str(name).removeprefix(META_PREFIX))
    return Text(bare, bare) if ours is None else ours


def subjects(page: EdaPage) -> Found:
    """The column most like a person, patient or place."""
    table = page.leaks.subjects if page.leaks is not None else None
    if table is None or not len(table):
        return
    first = table.iloc[0]
    groups, largest = count(int(first["groups"])), count(int(first["largest"]))
    place = subject_place(str(first["what"]))
    yield make_finding(
        "look",
        "leaks",
        (
            f"{place.en[0].upper()}{place.en[1:]} looks like a subject: {groups} groups of up "
            f"to {largest} pictures.",
            f"{place.ko}: 같은 대상을 뜻하는 것 같습니다. 그룹 {groups}개, 최대 "
            f"{largest}장입니다.",
        ),
        (
            "Keep each subject in one fold, or the score rewards recognising it.",
            "한 대상은 한 폴드에 두세요. 그러지 않으면 대상을 외운 점수가 됩니다.",
        ),
        setting=str(first["setting"]),
    )


def shift(page: EdaPage) -> Found:
    """Whether train and test can be told apart."""
    if page.shift is None or not len(page.shift.aucs):
        return
    worst = page.shift.aucs.sort_values(
        ["is_shifted", "low"], ascending=False, kind="stable"
    ).iloc[0]
    auc = f"AUC {number(worst['auc'])}, {number(worst['low'])} – {number(worst['high'])}"
    if not worst["is_shifted"]:
        what = (
            f"Train and test cannot be told apart ({auc}).",
            f"학습과 테스트가 구별되지 않습니다({auc}).",
        )
        yield make_finding("fine", "shift", what)
        return
    yield make_finding(
        "look",
        "shift",
        (
            f"Train and test can be told apart ({auc}): scores on train may not carry over.",
            f"학습과 테스트가 구별됩니다({auc}). 학습 점수가 그대로 통하지 않을 수 있습니다.",
        ),
        (
            "See what differs in the galleries, and augment towards it.",
            "아래 사진에서 무엇이 다른지 보고, 그 방향으로 증강하세요.",
        ),
    )


def suspects(page: EdaPage) -> Found:
    """Labels that the model contradicts."""
    found = page.suspects
    if found is None:
        return
    if not found.num_suspects:
        yield make_finding(
            "fine",
            "suspects",
            ("No label is contradicted firmly.", "모델이 강하게 반대하는 레이블이 없습니다."),
        )
        return
    share = found.num_suspects / max(found.num_rows, 1)
    many = plural(found.num_suspects, "label|labels")
    by = "A quick classifier" if found.run is None else f"Run {code(found.run)}"
    by_ko = "간단한 분류기가" if found.run is None else f"실행 {code(found.run)}이(가)"
    yield make_finding(
        "look",
        "suspects",
        (
            f"{by} firmly contradicts {many} ({percent(share)} of rows).",
            f"{by_ko} 레이블 {count(found.num_suspects)}개({percent(share)})에 강하게 "
            "반대합니다.",
        ),
        _MANY
        if share > MANY_SUSPECTS
        else (
            f"Go through the first dozen; correct them in a copy of {code(found.labels_path)}.",
            f"앞의 십여 개를 확인하고 {code(found.labels_path)}의 사본에서 고치세요.",
        ),
    )


_MANY = (
    "So many are more likely mistakes of the model than of the labels. Look at the first "
    "dozen, and judge again by a better run: `gorae eda --run`.",
    "이만큼 많으면 레이블보다 모델이 틀렸을 가능성이 큽니다. 앞의 십여 개를 보고, 더 나은 "
    "실행으로 다시 판정하세요: `gorae eda --run`.",
)
