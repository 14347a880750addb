"""What the page of a comparison says, in English and Korean."""

from gorae.report.telling import fill
from gorae.report.texts import Text

COMPARISON_TEXTS: dict[str, Text] = {
    "comparison.title": Text("Comparison", "비교"),
    "comparison.best": Text("Best score", "최고 점수"),
    "comparison.base": Text("Base", "기준"),
    "comparison.variants": Text("Variants", "변형"),
    "comparison.counts": Text(
        "{better} better than the base, {worse} worse, the rest within noise",
        "기준보다 나음 {better}, 나쁨 {worse}, 나머지는 오차 범위 안",
    ),
    "comparison.time": Text("Training time", "학습 시간"),
    "comparison.trained": Text(
        "{folds:fold|folds}, {seeds:seed|seeds}, {rows:row|rows}",
        "폴드 {folds}개, 시드 {seeds}개, {rows}행",
    ),
    "comparison.found": Text(
        "{count:variant is|variants are} better than the base beyond noise",
        "변형 {count}개가 오차 범위를 넘어 기준보다 낫습니다",
    ),
    "comparison.nothing": Text(
        "No variant is better than the base beyond noise",
        "오차 범위를 넘어 기준보다 나은 변형이 없습니다",
    ),
    "comparison.one_better": Text(
        "{name}: {gain} (95%: {low} to {high}).",
        "{name}: {gain}(95% 구간 {low} ~ {high}).",
    ),
    "comparison.none_better": Text(
        "Of {count:variant|variants} none has an interval above 0. That does not prove them "
        "useless: more rows, folds or seeds make the intervals narrower.",
        "변형 {count}개 가운데 구간 전체가 0보다 큰 것이 없습니다. 쓸모없다는 뜻은 아닙니다. "
        "행, 폴드, 시드가 늘면 구간이 좁아집니다.",
    ),
    "comparison.worse_ones": Text("Worse beyond noise: {names}.", "분명히 나쁨: {names}."),
    "comparison.one": Text(
        "One seed: the intervals hold the chance of the pictures, not that of training "
        "(--seeds 3 measures it).",
        "시드가 하나뿐이라 구간에는 사진의 우연만 있고 학습의 우연은 없습니다"
        "(--seeds 3으로 잴 수 있습니다).",
    ),
    "comparison.chance_many": Text(
        "The intervals hold the chance of the pictures and of training.",
        "구간에는 사진의 우연과 학습의 우연이 모두 들어 있습니다.",
    ),
    "comparison.gains": Text("Against the base", "기준과의 차이"),
    "comparison.gains_help": Text(
        "Each variant was trained and scored on the folds of the base; all are resampled "
        "together. The intervals are widened for their number: in 19 of 20 comparisons all of "
        "them hold the true difference at once. The first of many is there by luck too: its "
        "score flatters it a little.",
        "모든 변형을 기준과 같은 폴드에서 학습하고 채점했으며, 표본도 함께 다시 뽑았습니다. "
        "구간은 변형의 수만큼 넓혔습니다. 비교 20번 중 19번은 모든 구간이 참값을 동시에 "
        "포함합니다. 여럿 중 1위에는 운도 섞이므로 그 점수는 조금 부풀려져 있습니다.",
    ),
    "chart.against": Text("Better than the base by", "기준보다 나은 정도"),
    "chart.against.help": Text(
        "Right of the dotted line is better than the base. A bar that crosses the line may be "
        "chance.",
        "점선 오른쪽이면 기준보다 낫습니다. 막대가 점선에 걸치면 우연일 수 있습니다.",
    ),
    "chart.by_fold": Text("Fold by fold", "폴드별 차이"),
    "chart.by_fold.help": Text(
        "Gain over the base in each fold, mean over seeds; blue is better, orange worse. What "
        "holds in all folds is easier to believe than what one fold brings.",
        "폴드마다 기준보다 나은 정도(시드 평균)입니다. 파랑은 나음, 주황은 나쁨입니다. "
        "한 폴드가 만든 차이보다 모든 폴드에 나타난 차이가 더 믿을 만합니다.",
    ),
    "comparison.variant": Text("Variant", "변형"),
    "comparison.gain": Text("Better by", "나은 정도"),
    "comparison.interval": Text("95% interval", "95% 구간"),
    "comparison.verdict": Text("Says", "판정"),
    "comparison.pairs": Text("Folds better", "나은 폴드"),
    "comparison.seed_sd": Text("Seed sd", "시드 표준편차"),
    "comparison.elapsed": Text("Time", "시간"),
    "said.base": Text("base", "기준"),
    "said.better": Text("better", "나음"),
    "said.worse": Text("worse", "나쁨"),
    "said.within noise": Text("within noise", "오차 범위 안"),
    "comparison.scores": Text("Scores", "점수"),
    "comparison.fold_scores": Text(
        "Score of each fold and time of all (means over seeds), and the runs behind them",
        "폴드별 점수와 걸린 시간(시드 평균), 해당 실행",
    ),
    "comparison.runs": Text("Runs", "실행"),
    "comparison.next": Text("Next", "다음 단계"),
    "comparison.next_help": Text(
        "Winners were measured one by one. Together they may bring less, or harm: train the "
        "written recipe, and compare it once more where it matters.",
        "이긴 변형은 하나씩 잰 것입니다. 함께 쓰면 효과가 줄거나 나빠질 수 있으니, 저장한 "
        "레시피를 학습하고 중요하다면 다시 비교하세요.",
    ),
}


def tell(key: str, **values: object) -> Text:
    """The text of ``key`` with ``values`` put in; not escaped."""
    return fill(COMPARISON_TEXTS, key, **values)
