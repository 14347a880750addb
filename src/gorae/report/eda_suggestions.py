"""Why a setting is suggested, in English and Korean; keys and values as of ``eda.suggest``."""

from gorae.eda.suggest import Values
from gorae.report.eda_texts import EDA_TEXTS
from gorae.report.eda_wording import code
from gorae.report.numbers import Count, number, percent
from gorae.report.texts import Language, Text

_SHARES = frozenset(("share",))
_NAMES = frozenset(("column", "metric"))


def suggestion_text(key: str, values: Values) -> Text:
    """The sentence of a suggestion, values put in; not escaped, code between backticks."""

    def shown(name: str, value: int | float | str, language: Language) -> str | Count:
        if name == "kind":
            return str(getattr(EDA_TEXTS[f"outlier.{value}"], language))
        if isinstance(value, str):
            return code(value) if name in _NAMES else value
        if name in _SHARES:
            return percent(float(value))
        return Count(value) if isinstance(value, int) else number(value)

    def fill(language: Language) -> str:
        chosen = {name: shown(name, value, language) for name, value in values.items()}
        return str(getattr(SUGGESTION_TEXTS[key], language)).format(**chosen)

    return Text(fill("en"), fill("ko"))


SUGGESTION_TEXTS: dict[str, Text] = {
    "input_size.of_pictures": Text(
        "The pictures are small (short side {short_side} px): a larger input only blurs them.",
        "사진이 작아(짧은 변 {short_side} px) 입력을 더 키워도 흐려지기만 합니다.",
    ),
    "input_size.of_cpu": Text(
        "Without a GPU {size} px trains in reasonable time; the short side is {short_side} px.",
        "GPU가 없으면 {size} px이 적당합니다. 사진의 짧은 변은 {short_side} px입니다.",
    ),
    "input_size.of_gpu": Text(
        "{size} px is the usual start on a GPU; the short side is {short_side} px.",
        "GPU에서는 보통 {size} px로 시작합니다. 사진의 짧은 변은 {short_side} px입니다.",
    ),
    "stored_size.room": Text(
        "Stored at {stored} px (about {gigabytes} GB) the pictures serve {size} px now and "
        "{larger} px later, without reading the files again.",
        "{stored} px로 저장하면(약 {gigabytes} GB) 지금은 {size} px, 나중에는 {larger} px "
        "입력까지 파일을 다시 읽지 않고 쓸 수 있습니다.",
    ),
    "normalisation.far": Text(
        "The colours are far from ImageNet's ({distance} standard deviations): mean {mean}, "
        "std {std}. Measure it; networks with frozen weights want ImageNet's own.",
        "색 분포가 ImageNet과 크게 다릅니다(표준편차의 {distance}배). 평균 {mean}, 표준편차 "
        "{std}. 비교해 보고 정하세요. 가중치를 고정할 때는 ImageNet 값이 맞습니다.",
    ),
    "grey.all": Text(
        "{share} of the pictures have no colour: changes of hue and saturation do nothing.",
        "사진의 {share}가 흑백이므로 색조·채도 증강은 효과가 없습니다.",
    ),
    "grey.some": Text(
        "{share} of the pictures have no colour: let the network see others in grey too.",
        "사진의 {share}가 흑백입니다. 다른 사진도 가끔 흑백으로 보여 주세요.",
    ),
    "imbalance.weights": Text(
        "The largest class is {ratio} times the smallest, and {metric} counts them alike: "
        "weigh rare ones more.",
        "가장 큰 클래스가 가장 작은 클래스의 {ratio}배인데 {metric}은(는) 둘을 똑같이 봅니다. "
        "드문 클래스에 가중치를 더 주세요.",
    ),
    "imbalance.sampler": Text(
        "The largest class is {ratio} times the smallest, and {metric} counts them alike: draw "
        "rare ones more often.",
        "가장 큰 클래스가 가장 작은 클래스의 {ratio}배인데 {metric}은(는) 둘을 똑같이 봅니다. "
        "드문 클래스를 더 자주 뽑으세요.",
    ),
    "imbalance.leave": Text(
        "The largest class is {ratio} times the smallest, but {metric} counts rows: weights "
        "would bend the probabilities. Leave it.",
        "가장 큰 클래스가 가장 작은 클래스의 {ratio}배지만 {metric}은(는) 행을 셉니다. "
        "가중치를 주면 확률이 틀어지므로 그대로 두세요.",
    ),
    "classes.absent": Text(
        "{count:class has|classes have} no train picture: no model can learn it.",
        "클래스 {count}개는 학습 사진이 없어 배울 수 없습니다.",
    ),
    "groups.subject": Text(
        "{column} looks like a subject ({subjects} values, {pictures} pictures, up to "
        "{largest} of one): keep each in one fold.",
        "{column} 열은 같은 대상을 뜻하는 것 같습니다(값 {subjects}개, 사진 {pictures}장, 최대 "
        "{largest}장). 한 대상은 한 폴드에 두세요.",
    ),
    "groups.shared": Text(
        "{shared} values of {column} stand in train and in test: the same subjects are asked "
        "again, and folds that keep them apart look worse than the test.",
        "{column} 값 {shared}개가 학습과 테스트에 모두 있습니다. 같은 대상을 다시 묻는 "
        "문제여서, 대상을 나눈 폴드의 점수는 테스트보다 낮게 나옵니다.",
    ),
    "small_data.frozen": Text(
        "A typical class has {typical} pictures; below {enough} training a whole network "
        "rarely pays. Begin with a head on frozen features.",
        "보통 클래스의 사진이 {typical}장입니다. {enough}장보다 적으면 전체 미세 조정은 "
        "이득이 드무니 고정된 특징 위의 분류기부터 시작하세요.",
    ),
    "crop.some": Text(
        "A centre square cuts up to {share} off: use the whole short side.",
        "가운데 정사각형으로 자르면 최대 {share}가 잘립니다. 짧은 변 전체를 쓰세요.",
    ),
    "crop.much": Text(
        "A centre square cuts up to {share} off: pad to a square instead, and compare.",
        "가운데 정사각형으로 자르면 최대 {share}가 잘립니다. 여백을 채워 정사각형으로 만들어 "
        "비교해 보세요.",
    ),
    "outliers.look": Text(
        "{count:picture is|pictures are} unlike the others, most often {kind} ({kind_count}).",
        "다른 사진과 다른 것이 {count}장이며, 가장 많은 종류는 ‘{kind}’({kind_count}장)입니다.",
    ),
}
