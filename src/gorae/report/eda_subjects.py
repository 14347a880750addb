"""Where a subject stands, as ``eda.subjects`` says it, in English and Korean."""

import re

from gorae.report.eda_wording import code
from gorae.report.texts import Text

_PLACES = (
    (r"column (?P<name>.+)", Text("column {name}", "{name} 열")),
    (
        r"folder (?P<at>\d+) of the path",
        Text("folder {at} of the path", "경로의 {at}번째 폴더"),
    ),
    (
        r"part (?P<at>\d+) of (?P<all>\d+) of the file name",
        Text(
            "part {at} of {all} of the file name", "파일 이름을 나눈 {all}개 중 {at}번째 부분"
        ),
    ),
    (
        r"number (?P<at>\d+) of (?P<all>\d+) in the file name",
        Text("number {at} of {all} in the file name", "파일 이름의 숫자 {all}개 중 {at}번째"),
    ),
)


def subject_place(what: str) -> Text:
    """``SubjectProposal.what`` in both languages; names of columns as code."""
    for pattern, text in _PLACES:
        match = re.fullmatch(pattern, what, re.DOTALL)
        if match is not None:
            values = match.groupdict()
            if "name" in values:
                values["name"] = code(values["name"])
            return Text(text.en.format(**values), text.ko.format(**values))
    return Text(what, what)
