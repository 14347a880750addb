"""What is said of the problem definition, in English and Korean, by key."""

from collections.abc import Mapping
from typing import Any

from gorae.report.texts import Text


def problem_text(key: str, values: Mapping[str, Any] | None = None) -> Text:
    """The text of ``key`` in both languages, values put in; not escaped."""
    text = PROBLEM_TEXTS[key]
    return Text(text.en.format(**(values or {})), text.ko.format(**(values or {})))


PROBLEM_TEXTS: dict[str, Text] = {
    "title": Text("The problem", "문제 정의"),
    "help": Text(
        "Edit [problem] in competition.toml; what is yours is never overwritten. The answers "
        "decide which changes of training pictures make sense.",
        "competition.toml의 [problem]을 고치세요. 직접 쓴 내용은 덮어쓰지 않습니다. "
        "이 답에 따라 어떤 증강이 알맞은지 정해집니다.",
    ),
    "field.question": Text("Which problem", "어떤 문제인가"),
    "field.input": Text("Input", "입력"),
    "field.output": Text("Output", "출력"),
    "field.use": Text("Where and how it is used", "어디에 어떻게 쓰이나"),
    "empty": Text("not written yet", "아직 쓰지 않음"),
    "answer.yes": Text("yes", "예"),
    "answer.no": Text("no", "아니요"),
    "answer.unknown": Text("unknown", "모름"),
    "origin.user": Text("competition.toml", "competition.toml"),
    "origin.data": Text("seen in the data", "데이터에서 확인"),
    "origin.open": Text("please answer", "답해 주세요"),
    # Questions
    "orientation_fixed": Text(
        "Do all pictures have the same side up?", "모든 사진의 위아래 방향이 같은가?"
    ),
    "mirror_left_right": Text(
        "May a picture be mirrored left to right?", "좌우를 뒤집어도 되는가?"
    ),
    "mirror_up_down": Text("May a picture be put upside down?", "위아래를 뒤집어도 되는가?"),
    "lighting_varies": Text(
        "Does the light vary (day and night)?", "조명이 다양한가(낮과 밤)?"
    ),
    "cameras_vary": Text(
        "Do several cameras or devices take the pictures?", "촬영 기기가 여러 종류인가?"
    ),
    "scale_varies": Text(
        "Is the same thing large here and small there?", "대상의 크기가 사진마다 다른가?"
    ),
    "position_varies": Text(
        "May it be anywhere, before any background?", "대상의 위치와 배경이 다양한가?"
    ),
    "colour_matters": Text("Does colour tell classes apart?", "색이 클래스를 가르는 정보인가?"),
    # What the data say
    "finding.named_sides": Text(
        "Classes are told apart by left and right ({name}): a mirrored picture is of the "
        "other one.",
        "왼쪽과 오른쪽을 구분하는 클래스({name})가 있어, 뒤집으면 다른 클래스가 됩니다.",
    ),
    "finding.named_signs": Text(
        "All classes are single digits or letters: written signs must be neither mirrored nor "
        "turned; grades or other things numbered so may be.",
        "클래스 이름이 모두 숫자나 글자 하나입니다. 글씨라면 뒤집거나 돌리면 안 되고, "
        "등급 번호 등이라면 괜찮을 수 있습니다.",
    ),
    "finding.named_colours": Text(
        "Classes are told apart by a colour in their names ({name}).",
        "이름의 색으로 구분되는 클래스({name})가 있습니다.",
    ),
    "finding.several_devices": Text(
        "Column {column} names {count} different devices.",
        "{column} 열에 서로 다른 기기 {count}종이 있습니다.",
    ),
    "finding.one_device": Text(
        "Column {column} names the same device everywhere.",
        "{column} 열의 기기가 모두 같습니다.",
    ),
    "finding.turned_camera": Text(
        "EXIF data say that the camera was turned in {count} pictures: it was held by hand.",
        "EXIF에 카메라를 돌려 찍은 사진이 {count}장 있습니다(손에 들고 촬영).",
    ),
    "finding.several_sizes": Text(
        "Pictures have {count} different sizes; several devices are one reason for that.",
        "사진 크기가 {count}종류입니다. 여러 기기로 찍었을 수 있습니다.",
    ),
    "finding.box_sizes": Text(
        "Boxes: the largest are {ratio} times as long as the smallest (5% to 95%).",
        "박스 한 변의 길이가 {ratio}배까지 차이 납니다(5~95%).",
    ),
    "finding.box_places": Text(
        "Boxes: their centres spread by {share} of the picture's side.",
        "박스 중심의 표준편차가 사진 한 변의 {share}입니다.",
    ),
    "finding.wide_light": Text(
        "Mean brightness goes from {low} to {high} (5% to 95% of the pictures, of 1).",
        "사진의 평균 밝기가 {low}에서 {high}까지 퍼져 있습니다(5~95%, 최대 1).",
    ),
    "finding.narrow_light": Text(
        "Mean brightness lies between {low} and {high} (5% to 95% of the pictures, of 1); "
        "later pictures may differ.",
        "사진의 평균 밝기가 {low}에서 {high} 사이입니다(5~95%, 최대 1). 이후의 사진은 다를 수 "
        "있습니다.",
    ),
    "finding.brighter_above": Text(
        "In {share} of the pictures the upper half is the brighter one: they have an up.",
        "사진의 {share}에서 위쪽 절반이 더 밝습니다. 위아래가 정해져 있습니다.",
    ),
    "finding.brighter_below": Text(
        "In {share} of the pictures the lower half is the brighter one: they have an up.",
        "사진의 {share}에서 아래쪽 절반이 더 밝습니다. 위아래가 정해져 있습니다.",
    ),
    "finding.brighter_left": Text(
        "In {share} of the pictures the left half is the brighter one: mirrored ones would "
        "look unlike them.",
        "사진의 {share}에서 왼쪽 절반이 더 밝습니다. 뒤집은 사진은 낯설 수 있습니다.",
    ),
    "finding.brighter_right": Text(
        "In {share} of the pictures the right half is the brighter one: mirrored ones would "
        "look unlike them.",
        "사진의 {share}에서 오른쪽 절반이 더 밝습니다. 뒤집은 사진은 낯설 수 있습니다.",
    ),
    "finding.all_grey": Text(
        "All {count} pictures looked at are grey.", "살펴본 사진 {count}장이 모두 흑백입니다."
    ),
    # Why a setting is proposed
    "reason.no_mirror": Text(
        "Left and right differ in meaning.", "좌우가 바뀌면 뜻이 달라집니다."
    ),
    "reason.mirror": Text(
        "A mirrored picture is as good: twice the pictures for nothing.",
        "좌우를 뒤집어도 같은 사진이므로 학습 사진이 두 배가 됩니다.",
    ),
    "reason.no_mirror_down": Text(
        "Upside down, a picture differs in meaning.", "위아래가 바뀌면 뜻이 달라집니다."
    ),
    "reason.mirror_down": Text(
        "A picture put upside down is as good.", "위아래를 뒤집어도 같은 사진입니다."
    ),
    "reason.upright": Text(
        "All pictures have the same side up; none comes so.",
        "위아래가 정해져 있어 이런 사진은 나오지 않습니다.",
    ),
    "reason.turned": Text(
        "All pictures have the same side up, and this policy turns them over.",
        "위아래가 정해져 있는데 이 정책은 사진을 크게 돌립니다.",
    ),
    "reason.any_direction": Text(
        "Pictures come in any direction: with both flips, all eight symmetries are seen.",
        "방향이 정해져 있지 않습니다. 두 뒤집기와 함께 여덟 방향을 모두 봅니다.",
    ),
    "reason.any_direction_unmirrored": Text(
        "Pictures come in any direction, and it is not said that they may be mirrored: they "
        "are turned.",
        "방향이 정해져 있지 않고 뒤집어도 된다는 답이 없어 회전만 합니다.",
    ),
    "reason.all_sizes": Text(
        "Things come in all sizes: the random crop shows them so.",
        "대상의 크기가 다양하므로 무작위로 크게 잘라 보여 줍니다.",
    ),
    "reason.any_place": Text(
        "Things may be anywhere: the random crop moves them.",
        "대상의 위치가 다양하므로 무작위로 잘라 옮겨 줍니다.",
    ),
    "reason.one_size": Text(
        "Things have one size and one place: a tight crop would show what never comes.",
        "대상의 크기와 위치가 일정하므로 너무 작게 자르지 않습니다.",
    ),
    "reason.lighting": Text(
        "The light varies, as by day and night: brightness and contrast change.",
        "낮과 밤처럼 조명이 다양하므로 밝기와 대비를 바꿉니다.",
    ),
    "reason.cameras": Text(
        "Several cameras differ in contrast, colour and sharpness.",
        "기기마다 대비, 색, 선명도가 다릅니다.",
    ),
    "reason.colour_free": Text(
        "Colour tells nothing: the network should not rely on it.",
        "색은 정보가 아니므로 색에 기대지 않게 합니다.",
    ),
    "reason.colour_kept": Text(
        "Colour tells classes apart, and RandAugment changes it.",
        "색이 클래스를 가르는데 RandAugment는 색을 바꿉니다.",
    ),
    "reason.views": Text(
        "These views vote on pictures that cannot occur.",
        "나올 수 없는 모습의 사진까지 투표에 넣고 있습니다.",
    ),
}
