"""What the rule of thumb of transfer learning says of these data; it never changes a setting.

With many pictures: like ImageNet's -> train the classifier only, unlike -> fine-tune all. With
few: like -> the classifier only, unlike -> not recommended. What is "many" and what is "like"
is measured here, and the sentence says from what.

Source of the rule: a lecture on image classification (RoadVirusHN/boostcamp-AI-TIL).
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.data.store import PixelStore
from gorae.errors import DataError, StorageError
from gorae.metrics import METRICS, Metric, evaluate
from gorae.pipeline.context import Context, labels_key, read_scan, usable
from gorae.pipeline.open_set import scored_context
from gorae.pipeline.pixels import pixel_keys
from gorae.pipeline.scores import competition_metric, row_truth
from gorae.report.numbers import Count, number, percent
from gorae.report.texts import Text
from gorae.workspace import RunFolder, read_predictions

Kind = Literal["classifier", "finetune", "doubtful", "measure"]
Likeness = Literal["like", "unlike", "unclear"]

# Fine-tuning all beat a classifier on frozen features by far on Stanford Cars (42 pictures per
# class) and FGVC Aircraft (67), both unlike ImageNet's classes (Kornblith et al., 2019).
ENOUGH_PER_CLASS = 50
# A regression has no classes; with two of them, so many pictures would be enough.
ENOUGH_OF_NUMBERS = 2 * ENOUGH_PER_CLASS
# A choice: of the way from not looking to all right, what frozen features reach where little is
# left for fine-tuning, and what they do not where it has most to say.
LIKE_SHARE, UNLIKE_SHARE = 0.9, 0.6
# Pictures looked at for colour: their share is then known to 0.12 (95 %).
NUM_LOOKED_AT = 64
# ImageNet's are colour photographs; these are mostly not.
GREY_SHARE = 0.9
# Mean distance of the largest from the smallest channel, of 255, below which a picture is grey:
# above what JPEG makes of neutral pixels.
GREY_LEVEL = 4.0


@dataclass(frozen=True)
class Advice:
    """How a pretrained network is best used here, by the rule of thumb."""

    kind: Kind
    sentence: Text
    """What to do, and the command."""
    reason: Text
    """From which measurements, and how sure they are."""


@dataclass(frozen=True)
class _Finding:
    likeness: Likeness
    reason: Text


def advise(context: Context, recipe: Recipe, *, pixels: PixelStore) -> Advice:
    """Apply the rule to a competition whose pictures are prepared.

    How many there are is the size of the typical class. How like ImageNet's they are is taken
    from an earlier run with frozen features on the same labels (how far its out-of-fold score
    got from not looking to all right), and where that decides nothing or there is none, from
    whether they are in colour.

    Raises:
        UserError: The pictures are not scanned yet.
    """
    is_enough, amount = _amount(context)
    found = _found(_by_frozen_run(context), _by_colour(context, recipe, pixels))
    kind = _RULE[found.likeness, is_enough]
    reason = Text(f"{amount.en} {found.reason.en}", f"{amount.ko} {found.reason.ko}")
    return Advice(kind, SENTENCES[kind], reason)


_RULE: dict[tuple[Likeness, bool], Kind] = {
    ("like", True): "classifier",
    ("like", False): "classifier",
    ("unlike", True): "finetune",
    ("unlike", False): "doubtful",
    ("unclear", True): "measure",
    ("unclear", False): "measure",
}

SENTENCES: dict[Kind, Text] = {
    "classifier": Text(
        "Rule of thumb: train the classifier only, on the frozen network (`--preset quick`); "
        "fine-tuning may add little.",
        "경험칙: 모델은 고정하고 분류기만 학습하세요(`--preset quick`). 미세 조정의 이득은 "
        "작을 수 있습니다.",
    ),
    "finetune": Text(
        "Rule of thumb: fine-tune the whole network (`--preset standard`).",
        "경험칙: 모델 전체를 미세 조정하세요(`--preset standard`).",
    ),
    "doubtful": Text(
        "Rule of thumb: transfer learning is not recommended here; get more pictures, and "
        "compare `--preset quick` with `--preset standard` before you believe either.",
        "경험칙: 전이 학습을 권하지 않습니다. 사진을 더 모으고, `--preset quick`과 "
        "`--preset standard`를 비교한 뒤 판단하세요.",
    ),
    "measure": Text(
        "Rule of thumb: not decided yet; `gorae run --preset quick` and `--preset standard`, "
        "compared by `gorae board`, tell whether fine-tuning pays.",
        "경험칙: 아직 정할 수 없습니다. `gorae run --preset quick`과 `--preset standard`를 "
        "`gorae board`로 비교하면 미세 조정이 나은지 알 수 있습니다.",
    ),
}


def _found(by_run: _Finding | None, by_colour: _Finding) -> _Finding:
    """What a run measured; where it decides nothing, colour may."""
    if by_run is None:
        return by_colour
    if by_run.likeness != "unclear" or by_colour.likeness == "unclear":
        return by_run
    told = (by_run.reason, by_colour.reason)
    reason = Text(" ".join(t.en for t in told), " ".join(t.ko for t in told))
    return _Finding(by_colour.likeness, reason)


def _amount(context: Context) -> tuple[bool, Text]:
    train = context.tables.train
    labels = train.loc[train["role"] != "holdout", "label"]
    if context.competition.task == "regression":
        is_enough = len(labels) >= ENOUGH_OF_NUMBERS
        counted = f"{Count(len(labels)):train picture|train pictures}"
        counted_ko = f"학습 사진 {Count(len(labels))}장"
        limit = ENOUGH_OF_NUMBERS
        near = 0.5 <= len(labels) / limit <= 2
    else:
        counts = labels.explode().value_counts().reindex(list(context.tables.classes))
        typical = float(counts.fillna(0).median())
        is_enough, limit = typical >= ENOUGH_PER_CLASS, ENOUGH_PER_CLASS
        counted = f"{typical:,.0f} train pictures in the typical class"
        counted_ko = f"보통 클래스의 학습 사진 {typical:,.0f}장"
        near = 0.5 <= typical / limit <= 2
    said = ("enough", "충분") if is_enough else ("few", "부족")
    close = (", but near the line", "(경계에 가까움)") if near else ("", "")
    return is_enough, Text(
        f"{counted}: {said[0]} (the line is drawn at {limit}){close[0]}.",
        f"{counted_ko}: {said[1]}(기준 {limit}장){close[1]}.",
    )


def _by_frozen_run(context: Context) -> _Finding | None:
    """From the newest run that solved a head on frozen, pretrained features."""
    metric = competition_metric(context)
    if metric.name not in METRICS:
        return None
    for run in reversed(context.workspace.run_folders()):
        finding = _of_run(context, run, metric)
        if finding is not None:
            return finding
    return None


def _of_run(context: Context, run: RunFolder, metric: Metric) -> _Finding | None:
    try:
        settings, result = run.read_settings(), run.read_result()
    except StorageError:
        # A damaged run is told by `gorae board`; it is no evidence.
        return None
    model = settings.get("recipe", {}).get("model", {})
    is_evidence = (
        result is not None
        and model.get("use") == "frozen"
        and model.get("weights") != "none"
        and settings["keys"]["labels"] == labels_key(context)
        and result["metric"] == metric.name
    )
    if not is_evidence or result is None:
        return None
    oof = read_predictions(run.oof)
    seen = scored_context(context, run)
    baseline = blind_score(metric, row_truth(seen, oof.ids), num_columns=len(seen.columns))
    if baseline is None:
        return None
    whole = perfect_score(metric) - baseline
    shares = sorted((score - baseline) / whole for score in result["interval"])
    return _Finding(_likeness(shares), _said_of_run(run, result, shares))


def _likeness(shares: list[float]) -> Likeness:
    """Only where the whole interval is on one side."""
    if shares[0] >= LIKE_SHARE:
        return "like"
    return "unlike" if shares[1] <= UNLIKE_SHARE else "unclear"


def _said_of_run(run: RunFolder, result: dict[str, Any], shares: list[float]) -> Text:
    low, high = (percent(min(max(share, 0.0), 1.0)) for share in shares)
    score = f"{result['metric']} {number(result['score'])}"
    like, unlike = percent(LIKE_SHARE), percent(UNLIKE_SHARE)
    said = {
        "like": ("so they are like what it was trained on", "사전학습한 사진과 비슷함"),
        "unlike": ("so they are unlike what it was trained on", "사전학습한 사진과 다름"),
        "unclear": ("which does not decide it", "판단하기 어려움"),
    }[_likeness(shares)]
    return Text(
        f"The frozen network of run {run.run_id} got {low} to {high} of the way from not "
        f"looking to all right ({score}), {said[0]} ({like} and more is taken for like, "
        f"{unlike} and less for unlike).",
        f"실행 {run.run_id}의 고정된 모델은 보지 않은 점수에서 만점까지의 {low} ~ {high}에 "
        f"이릅니다({score}): {said[1]}({like} 이상은 비슷함, {unlike} 이하는 다름).",
    )


def _by_colour(context: Context, recipe: Recipe, pixels: PixelStore) -> _Finding:
    scan = read_scan(context)
    ids = context.tables.train["image_id"]
    hashes = list(
        dict.fromkeys(pixel_keys(context, recipe, scan, ids[usable(scan, ids)].tolist()))
    )
    looked_at = hashes[:: max(1, -(-len(hashes) // NUM_LOOKED_AT))]
    share = float(np.mean([is_grey(pixels.read(sha256)) for sha256 in looked_at]))
    seen = Count(len(looked_at))
    if share >= GREY_SHARE:
        return _Finding(
            "unlike",
            Text(
                f"{percent(share)} of {seen:picture|pictures} looked at are grey, ImageNet's "
                "are colour photographs: taken for unlike (a guess from colour alone).",
                f"살펴본 {seen}장 중 {percent(share)}가 흑백입니다. ImageNet은 컬러 사진이므로 "
                "다르다고 봅니다(색만 본 추측).",
            ),
        )
    return _Finding(
        "unclear",
        Text(
            "They are in colour; whether they are like ImageNet's is not measured before a run "
            "with frozen features.",
            "컬러 사진입니다. ImageNet과 비슷한지는 고정된 특징으로 실행해 봐야 압니다.",
        ),
    )


def is_grey(image: NDArray[np.uint8]) -> bool:
    """Whether an image (H, W, 3) is without colour."""
    spread = image.max(axis=2).astype(np.int16) - image.min(axis=2)
    return float(spread.mean()) < GREY_LEVEL


def perfect_score(metric: Metric) -> float:
    """The score of answers that are all right, of a metric in ``METRICS``."""
    return 1.0 if metric.greater_is_better else 0.0


def blind_score(metric: Metric, truth: NDArray[Any], *, num_columns: int) -> float | None:
    """The score of saying the same of every row: the class shares, or the mean.

    Args:
        metric: The competition's.
        truth: Encoded targets: class indices (N,), 0/1 (N, K), or numbers (N,).
        num_columns: K; 1 for a regression.

    Returns:
        None where the metric is undefined on such answers.
    """
    is_class = truth.ndim == 1 and num_columns > 1
    shown = np.eye(num_columns)[truth] if is_class else truth.reshape(len(truth), -1)
    prior = shown.astype(np.float64).mean(axis=0)
    try:
        return evaluate(metric, truth, np.tile(prior, (len(truth), 1)))
    except DataError:
        return None
