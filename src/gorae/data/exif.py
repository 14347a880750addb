"""What a camera or program wrote into a picture file beside its pixels."""

from PIL import Image

EXIF_COLUMNS: dict[str, str] = {
    "exif.camera": "maker and model of the camera",
    "exif.software": "program that wrote the file",
    "exif.taken": "date and time of the picture",
}
"""Fields of ``exif_header``; places and names of people are not read."""

# Tags of EXIF 2.3, and the directory that holds the time the picture was taken.
_MAKE, _MODEL, _SOFTWARE, _DATE = 0x010F, 0x0110, 0x0131, 0x0132
_PHOTO_DIRECTORY, _DATE_ORIGINAL = 0x8769, 0x9003

_LONGEST = 100


def exif_header(image: Image.Image) -> dict[str, str]:
    """The fields of EXIF_COLUMNS that a picture fills; an unreadable block fills none."""
    try:
        exif = image.getexif()
        if not exif:
            return {}
        taken = exif.get_ifd(_PHOTO_DIRECTORY).get(_DATE_ORIGINAL) or exif.get(_DATE)
        found = {
            "exif.camera": " ".join(_text(exif.get(tag)) for tag in (_MAKE, _MODEL)).strip(),
            "exif.software": _text(exif.get(_SOFTWARE)),
            "exif.taken": _text(taken),
        }
    except Exception:  # noqa: BLE001 - broken EXIF raises anything; the pixels are whole
        return {}
    return {name: value for name, value in found.items() if value}


def _text(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(c for c in text if c.isprintable()).strip()[:_LONGEST]
