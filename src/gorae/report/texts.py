"""What a page says, in English and Korean; values are put into the places in braces."""

from typing import Literal, NamedTuple

Language = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = ("en", "ko")


class Text(NamedTuple):
    """One sentence or label in both languages."""

    en: str
    ko: str


def say(key: str, language: Language, **values: object) -> str:
    """The text of ``key`` with ``values`` put in; not escaped."""
    return str(getattr(TEXTS[key], language)).format(**values)


TEXTS: dict[str, Text] = {
    # Page
    "page.title": Text("Run report", "실행 보고서"),
    "page.no_script": Text(
        "The charts of this page need JavaScript; tables and numbers are shown without it.",
        "차트를 보려면 자바스크립트가 필요합니다. 표와 숫자는 그대로 표시됩니다.",
    ),
    "page.more_rows": Text(
        "{count:more is|more are} not shown.", "나머지 {count}개는 생략했습니다."
    ),
    "page.sort_hint": Text(
        "Click a column head to sort.", "열 제목을 누르면 그 열로 정렬합니다."
    ),
    "page.passed": Text("passed", "통과"),
    "page.failed": Text("failed", "실패"),
    "page.warnings": Text("Read this first", "먼저 읽어 주세요"),
    "page.footer": Text(
        "Written by gorae. The page carries everything inside itself and opens offline.",
        "gorae가 작성했습니다. 모든 내용이 이 파일 안에 있어 오프라인에서도 열립니다.",
    ),
    "lower": Text("lower is better", "낮을수록 좋음"),
    "higher": Text("higher is better", "높을수록 좋음"),
    # Tasks and parts
    "task.multiclass": Text("one class per row", "단일 분류"),
    "task.multilabel": Text("several labels per row", "다중 레이블 분류"),
    "task.ordinal": Text("ordered classes", "순서형 분류"),
    "task.regression": Text("a number per row", "회귀"),
    "part.train": Text("train", "학습"),
    "part.holdout": Text("hold-out", "검증용(홀드아웃)"),
    "part.extra": Text("extra", "추가 학습"),
    "part.test": Text("test", "테스트"),
    "part.oof": Text("out-of-fold answers", "OOF 예측"),
    "part.test_answers": Text("test answers", "테스트 예측"),
    "part.train_labels": Text("train labels", "학습 정답"),
    # Headline
    "headline.oof": Text("Out-of-fold score", "교차 검증(OOF) 점수"),
    "headline.interval": Text("95% interval {low} to {high}", "95% 신뢰구간 {low} ~ {high}"),
    "headline.expected": Text("Expected on the test set", "테스트 예상 점수"),
    "headline.expected_help": Text(
        "95% prediction interval, chance of the test rows included",
        "95% 예측구간(테스트 표본의 우연 포함)",
    ),
    "headline.folds": Text("Mean of the folds", "폴드 평균"),
    "headline.folds_help": Text(
        "± standard deviation, {count:fold|folds}", "± 표준편차, 폴드 {count}개"
    ),
    "headline.baseline": Text("Without looking", "사진을 보지 않을 때"),
    "headline.baseline_help": Text(
        "the best answer that looks at no picture", "사진을 보지 않고 낼 수 있는 최선의 점수"
    ),
    "headline.rows": Text("{count:row|rows} scored", "채점한 행 {count}개"),
    "headline.models": Text("{count:trained model|trained models}", "학습한 모델 {count}개"),
    "headline.run": Text("Run", "실행"),
    "headline.metric": Text("Metric", "평가 지표"),
    "headline.model": Text("Model", "모델"),
    "headline.submission": Text("Submission", "제출 파일"),
    "headline.created": Text("Finished", "완료 시각"),
    "headline.elapsed": Text("Took", "걸린 시간"),
    # Verdict
    "verdict.ready": Text("Ready to send", "제출해도 좋습니다"),
    "verdict.scored": Text("Scored; there is nothing to submit", "채점 완료, 제출할 파일 없음"),
    "verdict.warnings": Text(
        "Usable, but read the warnings", "사용할 수 있으나 경고를 확인하세요"
    ),
    "verdict.weak": Text(
        "Not clearly better than guessing", "찍는 것보다 낫다고 할 수 없습니다"
    ),
    "verdict.broken": Text("Do not send this submission", "이 파일은 제출하지 마세요"),
    "verdict.score": Text(
        "On {rows:row|rows} it had never seen, the model scored {score} ({metric}).",
        "한 번도 보지 않은 {rows}개 행에서 얻은 점수는 {score}({metric})입니다.",
    ),
    "verdict.baseline": Text(
        "Answering without looking at any picture would give {baseline}.",
        "사진을 보지 않고 답하면 {baseline}입니다.",
    ),
    "verdict.expected": Text(
        "Expect between {low} and {high} on the test set.",
        "테스트에서는 {low}에서 {high} 사이를 기대하세요.",
    ),
    "verdict.mistake": Text(
        "Its most frequent mistake: {true} is called {predicted} ({count:time|times}).",
        "가장 잦은 실수: 정답 ‘{true}’ → 예측 ‘{predicted}’ ({count}번).",
    ),
    "verdict.weakest": Text(
        "The class it knows least is {name} (F1 {f1}, {support:row|rows}).",
        "가장 약한 클래스: ‘{name}’(F1 {f1}, {support}개 행).",
    ),
    "verdict.checked": Text(
        "The submission has {rows:row|rows} and passed all its checks.",
        "제출 파일은 {rows}개 행이며 모든 검사를 통과했습니다.",
    ),
    "verdict.failed": Text(
        "The submission failed {count} of its checks.",
        "제출 파일이 검사 {count}개에서 실패했습니다.",
    ),
    "verdict.fallback": Text(
        "A fallback answer stands in {count:test row|test rows} without a readable picture.",
        "테스트 {count}개 행은 읽을 수 있는 사진이 없어 대체 답을 넣었습니다.",
    ),
    # Data
    "data": Text("Data", "데이터"),
    "data.part": Text("Part", "구분"),
    "data.rows": Text("Rows", "행"),
    "data.images": Text("Pictures", "사진"),
    "data.unreadable": Text("Unreadable", "읽을 수 없음"),
    "data.classes": Text("Classes", "클래스 수"),
    "data.imbalance": Text("Largest to smallest class", "가장 큰 클래스 ÷ 가장 작은 클래스"),
    "data.median_size": Text("Median picture", "사진 크기(중앙값)"),
    "data.samples": Text("What the pictures look like", "사진 예시"),
    "data.duplicates": Text("Equal pictures", "같은 사진"),
    "data.duplicates_help": Text(
        "{sets:set|sets} of equal pictures, {images:picture|pictures} in all. A set never "
        "crosses folds.",
        "같은 사진 {sets}묶음, 모두 {images}장. 한 묶음은 같은 폴드에 둡니다.",
    ),
    "data.quarantined": Text("Pictures that cannot be read", "읽을 수 없는 사진"),
    "data.quarantined_help": Text(
        "Left out of training; their test rows carry the stated fallback answer.",
        "학습에서 뺐으며, 해당 테스트 행에는 정해진 대체 답을 넣습니다.",
    ),
    # Split
    "split": Text("Split", "분할"),
    "split.help": Text(
        "Who validates whom. Each row is scored by a model that saw neither it nor its group.",
        "누가 누구를 검증하는지입니다. 각 행은 그 행과 그룹을 보지 않은 모델이 채점합니다.",
    ),
    "split.how": Text("How", "방법"),
    "split.groups": Text("Groups kept together", "함께 묶은 그룹"),
    "split.deviation": Text("Largest deviation of a class share", "클래스 비율의 최대 편차"),
    "split.name": Text("Split contract", "분할 해시"),
    # Training
    "training": Text("Training", "학습"),
    "fit.overfits": Text(
        "It overfits: what it learned helps with new pictures only in part.",
        "과적합입니다. 배운 것이 새 사진에는 일부만 통합니다.",
    ),
    "fit.underfits": Text(
        "It underfits: it learned too little.", "과소적합입니다. 배운 것이 너무 적습니다."
    ),
    "fit.learning": Text(
        "It was still learning when the training ended.", "아직 배우는 중에 학습이 끝났습니다."
    ),
    "fit.balanced": Text("It neither over- nor underfits.", "과적합도 과소적합도 아닙니다."),
    "fit.unstable": Text(
        "The folds differ more than chance explains.", "폴드 사이의 차이가 우연보다 큽니다."
    ),
    "fit.unclear": Text(
        "Whether it over- or underfits cannot be told.", "과적합인지 판단할 수 없습니다."
    ),
    "training.try": Text("What to try, one at a time", "시도해 볼 것(한 번에 하나씩)"),
    "training.try_help": Text(
        "Give it with --set; the same folds make the scores comparable (gorae board).",
        "--set으로 바꿉니다. 폴드가 같으므로 점수를 비교할 수 있습니다(gorae board).",
    ),
    "training.advice": Text(
        "Classifier only, or fine-tune?", "분류기만 학습할까, 미세 조정할까?"
    ),
    # Parts of the answer
    "compared": Text("What each part adds", "각 부분의 기여"),
    "compared.help": Text(
        "The answers of this run beside other ways to join the same models, on the same "
        "out-of-fold rows. Where the interval holds 0 the difference may be chance; to take "
        "the best line afterwards would flatter the score.",
        "같은 OOF 행에서 같은 모델을 다르게 합친 답과 비교했습니다. 구간에 0이 들어 있으면 "
        "우연일 수 있고, 여기서 가장 좋은 줄을 고르면 점수가 부풀려집니다.",
    ),
    "compared.other": Text("Instead", "다른 방법"),
    "compared.gain": Text("This run is better by", "이 실행이 나은 정도"),
    "compared.interval": Text("95% interval", "95% 구간"),
    "compared.said": Text("Says", "판정"),
    "compared.better": Text("adds", "도움 됨"),
    "compared.worse": Text("harms", "해로움"),
    "compared.same": Text("no clear difference", "차이 불분명"),
    "compared.view": Text("view {name} alone", "뷰 {name}만"),
    "compared.without_view": Text("without view {name}", "뷰 {name} 제외"),
    "compared.checkpoint": Text("checkpoint of rank {name} alone", "{name}위 체크포인트만"),
    "compared.vote": Text("{name} vote", "{name} 투표"),
    "compared.equal_weights": Text("{name} vote, equal weights", "{name} 투표, 같은 가중치"),
    "compared.run": Text("run {name} alone", "실행 {name}만"),
    # Scores
    "scores": Text("Scores", "점수"),
    "scores.fold": Text("Fold", "폴드"),
    "scores.rows": Text("Rows", "행"),
    "scores.all": Text("Out-of-fold, all rows together", "OOF 전체"),
    "scores.usual": Text("Usual scores on the out-of-fold answers", "OOF 예측의 주요 지표"),
    # Answers
    "answers": Text("Answers by class", "클래스별 결과"),
    "answers.regression": Text("Answers", "예측 결과"),
    "answers.pairs": Text("Most frequent mistakes", "가장 잦은 실수"),
    "answers.true": Text("True", "정답"),
    "answers.predicted": Text("Answered", "예측"),
    "answers.count": Text("Times", "횟수"),
    "answers.share": Text("Share of the class", "클래스 내 비율"),
    "answers.table": Text("Scores of each class", "클래스별 점수"),
    "answers.class": Text("Class", "클래스"),
    "answers.precision": Text("Precision", "정밀도"),
    "answers.recall": Text("Recall", "재현율"),
    "answers.f1": Text("F1", "F1"),
    "answers.auc": Text("AUC", "AUC"),
    "answers.support": Text("True rows", "정답 수"),
    "answers.answered": Text("Answered rows", "예측 수"),
    "answers.table_help": Text(
        "Precision: of the rows given this class, the share that is right. Recall: of the rows "
        "of this class, the share that was found. F1 joins both.",
        "정밀도: 이 클래스로 답한 행 중 맞은 비율. 재현율: 이 클래스의 행 중 찾아낸 비율. "
        "F1은 둘을 합친 값입니다.",
    ),
    # Probabilities
    "probabilities": Text("Probabilities", "확률"),
    # Errors
    "errors": Text("Most confident errors", "확신했지만 틀린 사진"),
    "errors.regression": Text("Largest errors", "오차가 큰 사진"),
    "errors.help": Text(
        "Worst first. Look for wrong labels, unusual pictures and crops that cut the "
        "subject off.",
        "가장 크게 틀린 순서입니다. 잘못된 정답, 특이한 사진, 대상이 잘린 사진이 아닌지 "
        "살펴보세요.",
    ),
    "errors.true": Text("true", "정답"),
    "errors.predicted": Text("answered", "예측"),
    "errors.sure": Text("{share} sure", "확신 {share}"),
    # Submission
    "submission": Text("Submission", "제출"),
    "submission.file": Text("File", "파일"),
    "submission.rows": Text("Rows", "행"),
    "submission.fallback": Text("Fallback answers", "대체 답"),
    "submission.fallback_help": Text(
        "These rows have no readable picture. Their answer is the stated fallback, never "
        "another picture's.",
        "읽을 사진이 없는 행입니다. 다른 사진의 예측이 아니라 정해진 대체 답을 넣었습니다.",
    ),
    "checks": Text("Checks", "검사"),
    # Provenance
    "provenance": Text("Settings and environment", "설정과 환경"),
    "provenance.reproduce": Text("Make it again", "다시 만들기"),
    "provenance.settings": Text("Settings (run.toml)", "설정(run.toml)"),
    "provenance.environment": Text("Environment", "환경"),
    "computed": Text("How it was computed", "계산 방법"),
    "computed.device": Text("Device", "장치"),
    "computed.precision": Text("Number format", "수 형식"),
    "computed.layout": Text("Memory layout", "메모리 배치"),
    "computed.channels_last": Text("channels last", "채널 마지막"),
    "computed.channels_first": Text("channels first", "채널 먼저"),
    "computed.compile": Text("Compiled for training", "학습 컴파일"),
    "computed.predict_compile": Text("Compiled for prediction", "예측 컴파일"),
    "computed.predict_precision": Text("Convolutions in prediction", "예측할 때의 합성곱"),
    "computed.threads": Text("Threads", "스레드"),
    "computed.workers": Text("Processes that prepare batches", "배치 준비 프로세스"),
    "computed.origin": Text("Chosen", "선택 근거"),
    "computed.speed": Text("Measured: {name}", "측정: {name}"),
    "computed.images_per_s": Text("{speed} images/s", "초당 {speed}장"),
    "yes": Text("yes", "예"),
    "no": Text("no", "아니요"),
    # Charts
    "chart.class_counts": Text("Rows per class", "클래스별 행 수"),
    "chart.class_counts.help": Text("", ""),
    "chart.targets": Text("Targets", "목표값 분포"),
    "chart.targets.help": Text("", ""),
    "chart.sizes": Text("Picture sizes", "사진 크기"),
    "chart.sizes.help": Text(
        "A larger dot is a more frequent size.", "점이 클수록 자주 나오는 크기입니다."
    ),
    "chart.balance": Text("Balance of the folds", "폴드의 균형"),
    "chart.balance.help": Text(
        "Numbers are rows. Colour is how far a class's share of the fold is from its share of "
        "all rows: plain is even, full colour is 5 points off (blue less, orange more).",
        "숫자는 행 수입니다. 색은 폴드 안의 클래스 비율이 전체 비율과 얼마나 다른지 "
        "나타냅니다. 무색은 고름, 가장 진한 색은 5%p 차이(파랑 적음, 주황 많음)입니다.",
    ),
    "chart.loss": Text("Loss", "손실"),
    "chart.loss.help": Text(
        "Thin lines are folds, the thick line is their mean.",
        "가는 선은 각 폴드, 굵은 선은 평균입니다.",
    ),
    "chart.score": Text("Validation score", "검증 점수"),
    "chart.score.help": Text(
        "A dot marks the best epoch of each fold.", "점은 폴드별 최고 에폭입니다."
    ),
    "chart.lr": Text("Learning rate", "학습률"),
    "chart.lr.help": Text("", ""),
    "chart.strengths": Text("Strength of the head", "분류기의 규제 강도"),
    "chart.strengths.help": Text(
        "Chosen inside the train part of each fold (dots), never on the rows that validate.",
        "각 폴드의 학습 부분 안에서만 골랐습니다(점). 검증 행은 쓰지 않습니다.",
    ),
    "chart.folds": Text("Score of each fold", "폴드별 점수"),
    "chart.folds.help": Text(
        "Line and band: mean of the folds ± standard deviation. A fold far from the others is "
        "worth a look.",
        "선과 띠: 폴드 평균 ± 표준편차. 혼자 멀리 떨어진 폴드는 살펴볼 만합니다.",
    ),
    "chart.gains": Text("This run against each", "각각과의 비교"),
    "chart.gains.help": Text(
        "Right of the line this run is better; bars are 95% intervals of the difference.",
        "선 오른쪽이면 이 실행이 낫습니다. 막대는 차이의 95% 구간입니다.",
    ),
    "chart.confusion": Text("Confusion matrix", "혼동 행렬"),
    "chart.confusion.help": Text(
        "A row is a true class, a column the answer. Stronger colour: a larger "
        "share of the true class (square-root scale, so that rare mistakes show).",
        "행은 정답, 열은 예측입니다. 진할수록 그 정답 클래스에서 차지하는 비율이 큽니다"
        "(드문 실수도 보이도록 제곱근 눈금).",
    ),
    "chart.reliability": Text("Can the probabilities be believed?", "확률을 믿을 수 있는가?"),
    "chart.reliability.help": Text(
        "On the dotted line a said 80% comes true 80% of the time; below it the model is too "
        "sure. Bars: 95% interval of each share. Mean gap: {error}.",
        "점선 위에 있으면 80%라고 말한 것이 실제로 80% 맞습니다. 점선 아래는 지나친 "
        "확신입니다. 막대는 95% 신뢰구간, 평균 차이는 {error}입니다.",
    ),
    "chart.roc": Text("Hits against false alarms (ROC)", "적중과 오경보(ROC)"),
    "chart.roc.help": Text(
        "Area {area}; 0.5 is guessing, 1 is perfect. Positive class: {positive}.",
        "면적 {area}. 0.5는 찍기, 1은 완벽입니다. 양성 클래스: {positive}.",
    ),
    "chart.fit": Text("Answered against true", "예측과 정답"),
    "chart.fit.help": Text(
        "On the dotted line the answer is exact.", "점선 위의 점은 정확한 예측입니다."
    ),
    "chart.residuals": Text("Answer minus truth", "예측 − 정답"),
    "chart.residuals.help": Text(
        "Centred on 0 the answers lean to neither side.",
        "0을 중심으로 모이면 한쪽으로 치우치지 않은 것입니다.",
    ),
    "chart.shares": Text("How often each class is answered", "클래스별 예측 비율"),
    "chart.shares.help": Text(
        "Test answers far from the out-of-fold answers mean that the test set is different, or "
        "that something is wrong.",
        "테스트 예측이 OOF 예측과 크게 다르면 테스트 데이터가 다르거나 무언가 잘못된 것입니다.",
    ),
    "axis.rows": Text("rows", "행"),
    "axis.num_rows": Text("{count:row|rows}", "{count}행"),
    "axis.width": Text("width in pixels", "너비(픽셀)"),
    "axis.height": Text("height in pixels", "높이(픽셀)"),
    "axis.pictures": Text("pictures", "사진"),
    "axis.epoch": Text("epoch", "에폭"),
    "axis.train": Text("train", "학습"),
    "axis.valid": Text("validation", "검증"),
    "axis.fold": Text("fold {name}", "폴드 {name}"),
    "axis.strength": Text("strength (larger: less regularised)", "강도(클수록 규제 약함)"),
    "axis.inner_score": Text("score inside the train part", "학습 부분 내 점수"),
    "axis.gain": Text("better by ({metric})", "나은 정도({metric})"),
    "axis.class_rank": Text("classes, most frequent first", "클래스(많은 순)"),
    "axis.true": Text("true", "정답"),
    "axis.predicted": Text("answered", "예측"),
    "axis.said": Text("said probability", "말한 확률"),
    "axis.said_of": Text("said probability of {name}", "‘{name}’이라고 말한 확률"),
    "axis.happened": Text("came true", "실제로 맞은 비율"),
    "axis.false_alarms": Text("false alarms", "오경보율"),
    "axis.hits": Text("hits", "적중률"),
    "axis.target": Text("target", "목표값"),
    "axis.residual": Text("answer minus truth", "예측 − 정답"),
    "axis.share": Text("share of rows", "행 비율"),
    "axis.share_of_fold": Text(
        "{share} of the fold, {overall} overall", "폴드의 {share}, 전체 {overall}"
    ),
}
