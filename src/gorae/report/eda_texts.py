"""What the page on the data says, in English and Korean."""

from gorae.report.telling import fill
from gorae.report.texts import Text


def tell(key: str, **values: object) -> Text:
    """The text of ``key`` with ``values`` put in; not escaped. A ``Text`` among the values is
    put in by language."""
    return fill(EDA_TEXTS, key, **values)


EDA_TEXTS: dict[str, Text] = {
    # Page
    "eda.title": Text("Data report", "데이터 보고서"),
    "eda.pictures_of": Text("Pictures, {part}", "{part} 사진"),
    "eda.rows": Text("{count:row|rows}", "{count}행"),
    "eda.unreadable": Text("{count} unreadable", "읽을 수 없음 {count}장"),
    "eda.classes": Text("Classes", "클래스"),
    "eda.balance": Text("largest to smallest {ratio} : 1", "최대 ÷ 최소 {ratio} : 1"),
    "eda.embeddings": Text("Features", "특징 벡터"),
    "eda.no_embeddings": Text(
        "none: near-duplicates by hash only, no map", "없음: 해시로만 중복을 찾고 지도는 생략"
    ),
    "eda.created": Text("Made", "작성 시각"),
    # Verdict
    "eda.level.stops": Text("Settle this before you train", "학습 전에 해결해야 합니다"),
    "eda.level.look": Text("Usable; look at these first", "쓸 수 있지만 먼저 확인하세요"),
    "eda.level.fine": Text("Nothing suspicious was found", "의심스러운 점을 찾지 못했습니다"),
    "eda.level.none": Text("Nothing was judged", "판정한 내용이 없습니다"),
    "eda.write_into": Text("in {file}", "{file}에 적기"),
    # Sections
    "findings": Text("Findings", "진단"),
    "findings.help": Text(
        "Everything that was checked: what stops, what a person should look at, what is fine.",
        "확인한 모든 항목입니다. 멈춰야 할 것, 사람이 봐야 할 것, 문제없는 것으로 나눴습니다.",
    ),
    "severity.stops": Text("stops", "중단"),
    "severity.look": Text("look", "확인"),
    "severity.fine": Text("fine", "양호"),
    "problem": Text("Problem", "문제 정의"),
    "problem.help": Text(
        "What is asked, and what may be done to a picture without changing its answer. Edited "
        "in `competition.toml` under `[problem]`; run `gorae eda` again to see what follows.",
        "무엇을 맞혀야 하는지, 정답을 바꾸지 않고 사진을 어떻게 변형해도 되는지 적습니다. "
        "`competition.toml`의 `[problem]`에서 고친 뒤 `gorae eda`를 다시 실행하면 "
        "반영됩니다.",
    ),
    "problem.unanswered": Text("not answered yet", "아직 답하지 않음"),
    "problem.guess": Text("the data suggest", "데이터로 본 추정"),
    "problem.start": Text(
        "To take over what the data suggest, set under [problem]",
        "추정한 답을 쓰려면 [problem] 아래의 값을 이렇게 바꾸세요",
    ),
    "problem.augmentations": Text("What follows for augmentation", "그에 따른 증강"),
    "classes": Text("Classes", "클래스"),
    "classes.samples": Text("What the classes look like", "클래스별 사진"),
    "classes.never_seen": Text(
        "Classes without a single train row", "학습 데이터에 한 장도 없는 클래스"
    ),
    "pictures": Text("Pictures", "사진"),
    "pictures.one_size": Text(
        "All {count:picture|pictures} measure {size} px.",
        "사진 {count}장 모두 {size} px입니다.",
    ),
    "pictures.size": Text("Size (median)", "크기(중앙값)"),
    "pictures.smallest": Text("Smallest", "가장 작은 사진"),
    "pictures.largest": Text("Largest", "가장 큰 사진"),
    "pictures.formats": Text("File formats", "파일 형식"),
    "pictures.modes": Text("Colour modes", "색상 모드"),
    "pictures.portraits": Text("Light and colour of each class", "클래스별 밝기와 색"),
    "pictures.portraits_help": Text(
        "Mean picture, mean colour, and how often each brightness of red, green and blue "
        "occurs (grey area: grey). A class that stands out by its colour alone can be guessed "
        "without looking at the subject.",
        "평균 사진과 평균 색, 그리고 빨강·초록·파랑 값의 분포입니다(회색 면은 명도). 색만으로 "
        "구별되는 클래스는 대상을 보지 않고도 맞힐 수 있으니 주의하세요.",
    ),
    "pictures.all": Text("All pictures", "전체"),
    "pictures.mean": Text("mean", "평균"),
    "pictures.rgb_mean": Text("RGB mean", "RGB 평균"),
    "pictures.rgb_std": Text("RGB std", "RGB 표준편차"),
    "pictures.std": Text("std", "표준편차"),
    "outliers": Text("Unusual pictures", "특이한 사진"),
    "outliers.help": Text(
        "Far from the rest in one measure. Not wrong by itself: see whether a person could "
        "give the answer.",
        "한 가지 값이 다른 사진과 크게 다릅니다. 그 자체로 잘못은 아닙니다. 사람이 보고 "
        "답할 수 있는 사진인지 확인하세요.",
    ),
    "outlier.dark": Text("dark", "어두움"),
    "outlier.bright": Text("bright", "밝음"),
    "outlier.blurry": Text("blurry", "흐림"),
    "outlier.one_colour": Text("one colour", "단색"),
    "outlier.low_contrast": Text("flat", "대비 낮음"),
    "outlier.small": Text("small", "작음"),
    "outlier.large": Text("large", "큼"),
    "outlier.tall": Text("tall", "세로로 긺"),
    "outlier.wide": Text("wide", "가로로 긺"),
    "outliers.limit": Text("{value} (limit {limit})", "{value} (기준 {limit})"),
    "map": Text("Map", "지도"),
    "map.help": Text(
        "Pictures that look alike to the network lie close together ({method}). Point at one "
        "to see it. Islands of one class are easy; mixed places are hard; a lone picture amid "
        "another class may be mislabelled.",
        "신경망이 비슷하게 보는 사진끼리 가까이 놓입니다({method}). 점을 가리키면 사진이 "
        "보입니다. 한 클래스만 모인 곳은 쉽고, 섞인 곳은 어렵습니다. 다른 클래스 한가운데 홀로 "
        "있는 사진은 레이블 오류일 수 있습니다.",
    ),
    "map.sample": Text(
        "Drawn: {shown} of {count:picture|pictures}.",
        "전체 {count}장 중 {shown}장을 그렸습니다.",
    ),
    "map.points": Text("Points", "점"),
    "map.mosaic": Text("Pictures", "사진"),
    "map.others": Text("other classes", "그 밖의 클래스"),
    "map.no_label": Text("no label (test)", "레이블 없음(테스트)"),
    "map.eigen": Text("Mean picture and main differences", "평균 사진과 주된 차이"),
    "map.eigen_help": Text(
        "Principal components of the pixels (eigen-pictures), with their share of the "
        "variance. Light or dark borders mean that framing or exposure differs most.",
        "픽셀의 주성분(고유 사진)과 분산 비율입니다. 테두리나 밝기만 두드러지면 구도나 노출의 "
        "차이가 가장 크다는 뜻입니다.",
    ),
    "integrity": Text("Files", "파일"),
    "integrity.read": Text("Files read", "읽은 파일"),
    "integrity.quarantined": Text("Cannot be read", "읽을 수 없음"),
    "integrity.unlisted": Text("On disk, not listed", "목록에 없는 파일"),
    "column.image_id": Text("picture", "사진"),
    "column.picture": Text("picture", "사진"),
    "column.source": Text("listed in", "목록"),
    "column.path": Text("file", "파일"),
    "column.reason": Text("reason", "까닭"),
    "column.detail": Text("detail", "자세히"),
    "integrity.missing": Text("Listed, not on disk", "없는 파일"),
    "duplicates": Text("Duplicates", "중복"),
    "duplicates.help": Text(
        "The same picture twice makes a score lie: once in training, once in validation, it is "
        "remembered, not recognised. Sets of duplicates stay in one fold.",
        "같은 사진이 학습과 검증에 나뉘어 있으면 맞힌 것이 아니라 외운 것이어서 점수를 믿을 수 "
        "없습니다. 중복 묶음은 한 폴드에 둡니다.",
    ),
    "duplicates.where": Text("Where", "위치"),
    "where.train": Text("within train", "학습 내부"),
    "where.train_test": Text("train and test", "학습과 테스트 사이"),
    "where.test": Text("within test", "테스트 내부"),
    "duplicates.exact": Text("Exact pairs", "완전 중복(쌍)"),
    "duplicates.near": Text("Near pairs", "유사 중복(쌍)"),
    "duplicates.conflicts": Text("Different labels", "레이블 다름"),
    "duplicates.pairs": Text("Side by side", "나란히 보기"),
    "duplicate.bytes": Text("same file", "같은 파일"),
    "duplicate.pixels": Text("same pixels", "같은 픽셀"),
    "duplicate.near": Text("{share} alike", "유사도 {share}"),
    "duplicate.flipped": Text("mirrored", "좌우 반전"),
    "duplicate.conflict": Text("labels differ", "레이블 다름"),
    "found_by.hash": Text("found by hash", "해시로 찾음"),
    "found_by.features": Text("found by features", "특징으로 찾음"),
    "duplicates.chain": Text(
        "A chain of look-alikes is not joined by itself", "사슬처럼 이어진 유사 사진"
    ),
    "duplicates.chain_help": Text(
        "{count:picture|pictures} hang together ({share} of all; at most {limit} would be "
        "joined without asking). Films and video frames do that: each resembles the next. "
        "Choose a threshold, or a column that says what belongs together.",
        "사진 {count}장이 한 묶음으로 이어집니다(전체의 {share}, 자동 허용 한도 {limit}). "
        "엑스레이나 동영상 프레임처럼 이웃한 사진이 서로 닮을 때 생깁니다. 기준값을 고르거나, "
        "함께 묶을 열을 지정하세요.",
    ),
    "duplicates.columns": Text("Columns that may say it", "대신 쓸 수 있는 열"),
    "duplicates.threshold": Text("Threshold", "기준값"),
    "duplicates.num_joined": Text("Pictures in sets", "묶인 사진"),
    "duplicates.weakest": Text("Its weakest links", "가장 약한 연결"),
    "duplicates.num_sets": Text("Sets", "묶음"),
    "duplicates.largest": Text("Largest set", "가장 큰 묶음"),
    "leaks": Text("Leaks", "누출"),
    "leaks.help": Text(
        "Whether anything but the pixels knows the answer. A column that predicts the label "
        "may be knowledge (age) or a trap (file size, order of ids) that the test set lacks.",
        "픽셀이 아닌 것이 정답을 알고 있는지 봅니다. 레이블을 예측하는 열은 쓸모 있는 "
        "정보(나이)일 수도, 테스트에는 없는 함정(파일 크기, id 순서)일 수도 있습니다.",
    ),
    "leaks.subjects": Text("Columns that look like subjects", "대상(사람·환자)으로 보이는 열"),
    "leaks.subjects_help": Text(
        "Pictures of one person, patient or place belong into one fold. Name the column that "
        "says so in `train.group_columns`.",
        "같은 사람, 환자, 장소의 사진은 한 폴드에 있어야 합니다. 해당 열을 "
        "`train.group_columns`에 적으세요.",
    ),
    "leak.all artefacts together": Text("all traces of files", "파일의 흔적 전부"),
    "leak.all metadata together": Text("all metadata", "메타데이터 전부"),
    "leak.row_order": Text("order of the table", "표의 순서"),
    "leak.size_bytes": Text("size of the file", "파일 크기"),
    "leak.width_px": Text("width", "너비"),
    "leak.height_px": Text("height", "높이"),
    "leak.aspect": Text("width / height", "가로세로비"),
    "leak.file_order": Text("order of the file names", "파일 이름의 순서"),
    "leak.file_number": Text("number in the file name", "파일 이름의 숫자"),
    "leak.number_mod_10": Text("last digit of that number", "그 숫자의 끝자리"),
    "leak.name_length": Text("length of the file name", "파일 이름의 길이"),
    "leak.name_letters": Text("letters of the file name", "파일 이름의 글자"),
    "leak.extension": Text("file extension", "파일 확장자"),
    "leak.folder": Text("folder", "폴더"),
    "leak.folder_depth": Text("depth of the folder", "폴더의 깊이"),
    "leaks.column": Text("Column", "열"),
    "leaks.groups": Text("Groups", "그룹 수"),
    "leaks.largest": Text("Largest group", "가장 큰 그룹"),
    "leaks.example": Text("Example", "예"),
    "shift": Text("Train against test", "학습과 테스트의 차이"),
    "shift.help": Text(
        "A classifier tries to tell train from test pictures. At 0.5 it cannot, and scores on "
        "train carry over; near 1 the test set is another world.",
        "학습 사진과 테스트 사진을 구별하는 분류기를 만들어 봅니다. 0.5면 구별하지 못하므로 "
        "학습 점수를 믿을 수 있고, 1에 가까우면 전혀 다른 데이터입니다.",
    ),
    "shift.embeddings": Text("pictures (features)", "사진(특징 벡터)"),
    "shift.metadata": Text("metadata", "메타데이터"),
    "shift.test_like": Text(
        "Train pictures most like the test set", "테스트와 가장 닮은 학습 사진"
    ),
    "shift.train_like": Text(
        "Train pictures least like the test set", "테스트와 가장 다른 학습 사진"
    ),
    "suspects": Text("Label suspects", "의심스러운 레이블"),
    "suspects.help": Text(
        "{count:label|labels} of {rows:row|rows} that the model, never having seen them, "
        "contradicts firmly. Most suspect first.",
        "{rows}개 행 중 {count}개 레이블은 그 사진을 본 적 없는 모델이 강하게 반대합니다. 가장 "
        "의심스러운 순서입니다.",
    ),
    "suspects.how": Text(
        "To correct: copy `{path}` next to `competition.toml`, write the right class into the "
        "column `label`, or 0 into `weight` to leave the picture out of training, and name the "
        'file: `corrections = "labels.csv"`. Every later step honours it.',
        "고치려면 `{path}`를 `competition.toml` 옆에 복사해 `label` 열에 올바른 클래스를, "
        "학습에서 빼려면 `weight` 열에 0을 적고, `competition.toml`에 "
        '`corrections = "labels.csv"`라고 적으세요. 이후 모든 단계가 따릅니다.',
    ),
    "suspects.given": Text("given", "현재"),
    "suspects.suggested": Text("suggested", "제안"),
    "suspects.score": Text("suspicion {share}", "의심도 {share}"),
    "suspects.run": Text("Judged by {run}.", "판정한 실행: {run}."),
    "metadata": Text("Metadata", "메타데이터"),
    "metadata.rarer": Text("rarer values", "드문 값"),
    "metadata.record": Text("What cleaning changed", "정리 기록"),
    "kind.number": Text("number", "수"),
    "kind.age": Text("age in years", "나이(세)"),
    "kind.date": Text("date", "날짜"),
    "kind.flag": Text("yes or no", "예/아니요"),
    "kind.category": Text("category", "범주"),
    "kind.ambiguous_date": Text("date, unclear", "모호한 날짜"),
    "kind.id": Text("id", "식별자"),
    "kind.text": Text("text", "글"),
    "kind.constant": Text("one value", "값이 하나"),
    "kind.empty": Text("empty", "비어 있음"),
    "action.kept": Text("values after cleaning", "정리 후 남은 값"),
    "action.missing": Text("said that nothing is known: made missing", "모름 표시를 결측으로"),
    "action.tidied": Text("spaces or Unicode made equal", "공백·유니코드 통일"),
    "action.merged": Text("case or spaces made equal", "대소문자·띄어쓰기 통일"),
    "action.not_readable": Text("not of this kind: made missing", "형식이 달라 결측으로"),
    "action.implausible": Text("impossible: made missing", "있을 수 없는 값을 결측으로"),
    "action.sentinel": Text("stand-in for nothing: made missing", "대체 숫자를 결측으로"),
    "action.extreme": Text("far from all others, kept", "동떨어진 값(유지)"),
    "action.day_month_settled": Text("day and month settled", "일·월 순서 확정"),
    "action.day_month_unknown": Text(
        "day or month unclear: made missing", "일·월 모호: 결측으로"
    ),
    "action.day_month_open": Text("two readings: kept as text", "두 가지로 읽혀 글로 유지"),
    "action.unseen_in_test": Text("in test only", "테스트에만 있는 값"),
    "action.shared_with_test": Text("ids in train and test", "학습·테스트 공통 id"),
    "action.absent_in_test": Text("column absent in test", "테스트에 없는 열"),
    "action.absent_in_train": Text("column absent in train: left out", "학습에 없는 열: 제외"),
    "metadata.kind": Text("Read as", "해석"),
    "metadata.done": Text("What was done", "처리"),
    "metadata.count": Text("Values", "값 개수"),
    "metadata.missing": Text("{count} missing", "결측 {count}개"),
    "boxes": Text("Boxes", "상자"),
    "boxes.boxes": Text("Given boxes", "주어진 상자"),
    "boxes.faces": Text("Faces that were found", "찾은 얼굴"),
    "boxes.boxes_help": Text(
        "{with_box} of {count:picture|pictures} have one. Outside their picture reach "
        "{outside}; such are shown first.",
        "사진 {count}장 중 {with_box}장에 있으며, 사진 밖으로 나가는 것은 {outside}개입니다. "
        "그런 사진을 먼저 보여 줍니다.",
    ),
    "boxes.faces_help": Text(
        "Found in {with_box} of {count:picture|pictures}, by a detector of frontal, upright "
        "faces: it misses turned ones and takes some textures for faces.",
        "사진 {count}장 중 {with_box}장에서 찾았습니다. 정면으로 똑바로 선 얼굴만 찾으므로 "
        "기울어진 얼굴은 놓치고, 무늬를 얼굴로 잘못 보기도 합니다.",
    ),
    "boxes.unusable": Text("Boxes that cannot be used", "쓸 수 없는 상자"),
    "suggestions": Text("Suggested settings", "권장 설정"),
    "suggestions.help": Text(
        "Try them one at a time; the same folds make the scores comparable (`gorae board`).",
        "한 번에 하나씩 시도하세요. 폴드가 같으므로 점수를 비교할 수 있습니다(`gorae board`).",
    ),
    "suggestions.setting": Text("Setting", "설정"),
    # Charts
    "chart.eda_classes": Text("Rows per class", "클래스별 행 수"),
    "chart.eda_classes.help": Text("", ""),
    "chart.eda_targets": Text("Targets", "목표값 분포"),
    "chart.eda_targets.help": Text("", ""),
    "chart.eda_sizes": Text("Sizes", "크기"),
    "chart.eda_sizes.help": Text(
        "A larger dot is a more frequent size; the dotted line is square.",
        "점이 클수록 자주 나오는 크기입니다. 점선은 정사각형입니다.",
    ),
    "chart.aspects": Text("Width divided by height", "가로세로비"),
    "chart.aspects.help": Text("", ""),
    "chart.brightness": Text("Brightness", "밝기"),
    "chart.brightness.help": Text(
        "mean grey, 0 black to 255 white", "명도 평균(0 검정 ~ 255 흰색)"
    ),
    "chart.contrast": Text("Contrast", "대비"),
    "chart.contrast.help": Text("spread of grey in a picture", "사진 안의 명도 표준편차"),
    "chart.sharpness": Text("Sharpness", "선명도"),
    "chart.sharpness.help": Text(
        "variance of edges; low is blurry", "윤곽선의 분산. 낮으면 흐림"
    ),
    "pictures.spread": Text(
        "Dot: median; thick line: the middle half; thin line: 90 of 100 pictures; dotted: "
        "limits of the unusual.",
        "점은 중앙값, 굵은 선은 가운데 절반, 가는 선은 사진의 90%, 점선은 특이한 사진의 "
        "기준입니다.",
    ),
    "chart.grey": Text("Grey of each class", "클래스별 명도 분포"),
    "chart.grey.help": Text(
        "Share of pixels at each grey value, 0 black to 255 white.",
        "명도 값(0 검정 ~ 255 흰색)별 픽셀 비율입니다.",
    ),
    "chart.set_sizes": Text("Sizes of the sets", "묶음의 크기"),
    "chart.set_sizes.help": Text("", ""),
    "chart.leak_scores": Text(
        "How well a column predicts the label", "열이 레이블을 예측하는 정도"
    ),
    "chart.leak_scores.help": Text(
        "AUC with its 95% interval; the dotted line is chance. Orange: more than chance.",
        "AUC와 95% 신뢰구간입니다. 점선은 우연, 주황색은 우연 이상입니다.",
    ),
    "chart.shift_aucs": Text(
        "Can train and test be told apart?", "학습과 테스트가 구별되는가?"
    ),
    "chart.shift_aucs.help": Text(
        "AUC with its 95% interval; the dotted line is chance. Orange: more than chance.",
        "AUC와 95% 신뢰구간입니다. 점선은 우연, 주황색은 우연 이상입니다.",
    ),
    "chart.shift_columns": Text("What gives it away", "차이를 드러내는 열"),
    "chart.shift_columns.help": Text(
        "Share of the classifier's decisions.", "분류기의 판단에서 차지하는 비율입니다."
    ),
    "axis.auc": Text("AUC", "AUC"),
    "axis.rank": Text("rank correlation", "순위 상관"),
    "axis.aspect": Text("width / height", "너비 ÷ 높이"),
    "axis.part": Text("share of the part", "구분 내 비율"),
    "axis.group": Text("share of the class", "클래스 내 비율"),
    "axis.grey": Text("grey value", "명도"),
    "axis.pixels": Text("share of pixels", "픽셀 비율"),
    "axis.set_of": Text("{count:picture|pictures}", "{count}장"),
    "axis.sets": Text("sets", "묶음 수"),
    "axis.spread": Text(
        "median {median}<br>half: {q25} – {q75}<br>90%: {q05} – {q95}",
        "중앙값 {median}<br>절반: {q25} – {q75}<br>90%: {q05} – {q95}",
    ),
}
