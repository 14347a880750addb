"""Training pictures cropped to boxes of several sources: what is stored, and under which keys.

The first source is that of the step ``crop_box``. Others name a box of each training picture,
or none; a picture that they lack keeps its first box. Each is prepared once per source, by the
same steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gorae.config import Recipe
from gorae.config.preparing import WHOLE, BoxShare, CropBoxStep
from gorae.data.pixels import PixelSpec, pixel_key, read_arguments, write_arguments
from gorae.errors import ConfigError
from gorae.events import Event, OnEvent
from gorae.files import content_key
from gorae.pipeline.context import Context
from gorae.pipeline.pictures import annotated_boxes, listed_pictures, unknown_annotations
from gorae.pipeline.pixels import prepare
from gorae.stores.prepared import Prepared

# The columns that `gorae detect` writes, for files beside boxes of competition.toml.
DETECTED = {
    "image_column": "image_id",
    "box_columns": ("left", "top", "right", "bottom"),
    "box_format": "xyxy",
}


@dataclass(frozen=True, eq=False)
class BoxSource:
    """One of the further sources of boxes."""

    name: str
    """File with boxes, or ``whole``."""
    pictures: pd.DataFrame
    """``image_id``, ``path`` and ``arguments`` of every training picture."""
    missing: tuple[str, ...]
    """Training pictures without a box here, which keep their first one."""
    notes: tuple[str, ...]
    """What is odd about the file, a line each."""


def box_sources(context: Context, recipe: Recipe) -> list[BoxSource]:
    """The further sources of boxes in the order of the recipe; none without ``box_mix``.

    Raises:
        UserError: A file is not there, or its boxes cannot be used.
    """
    if not recipe.augment.box_mix:
        return []
    listed = listed_pictures(context, recipe)
    return [_source(context, recipe, each, listed) for each in recipe.augment.box_mix]


def _source(
    context: Context, recipe: Recipe, each: BoxShare, listed: pd.DataFrame
) -> BoxSource:
    trained = listed[listed["image_id"].isin(set(context.tables.train["image_id"]))]
    image_ids = trained["image_id"].tolist()
    values = {
        image_id: read_arguments(text)
        for image_id, text in zip(image_ids, trained["arguments"], strict=True)
    }
    missing, notes = list[str](), list[str]()
    if each.boxes == WHOLE:
        for value in values.values():
            value.pop("box", None)
    else:
        steps = tuple(_named(step, each.boxes) for step in recipe.preprocess)
        [step] = [step for step in steps if isinstance(step, CropBoxStep)]
        # Of all pictures, so that a name which fits one of test is not taken for one of train.
        boxes = annotated_boxes(context, step, listed["image_id"].tolist())
        missing = [image_id for image_id in image_ids if image_id not in boxes]
        if len(missing) == len(image_ids):
            raise ConfigError(
                f"augment.box_mix: {each.boxes} has a box of no training picture, and boxes "
                "are mixed in training alone. Name a file with some, or leave it out."
            )
        for image_id in set(image_ids) - set(missing):
            values[image_id]["box"] = list(boxes[image_id])
        notes = unknown_annotations(context, recipe.model_copy(update={"preprocess": steps}))
        if missing:
            notes.append(
                f"augment.box_mix: {len(missing)} of {len(image_ids)} training pictures have "
                f"no box in {each.boxes}, first {missing[0]}; they keep the one of the step "
                "crop_box"
            )
    texts = [write_arguments(values[image_id]) for image_id in image_ids]
    pictures = trained.assign(arguments=pd.Series(texts, trained.index, dtype="str"))
    return BoxSource(each.boxes, pictures, tuple(missing), tuple(notes))


def _named(step: Any, boxes: str) -> Any:
    """The step with another file; columns stay those it names."""
    if not isinstance(step, CropBoxStep):
        return step
    columns = DETECTED if step.annotations is None else {}
    return step.model_copy(update={"annotations": boxes, **columns})


def prepare_training(
    context: Context, recipe: Recipe, spec: PixelSpec, *, on_event: OnEvent
) -> Prepared:
    """``prepare``, and the training pictures as every further source of boxes crops them.

    All of it lies in the store that is returned; its lines and keys are of the first source.
    """
    for source in box_sources(context, recipe):
        found = prepare(context, recipe, spec, listed=source.pictures, on_event=on_event)
        outside = [
            image_id
            for image_id, note in zip(found.scan["image_id"], found.step_notes, strict=True)
            if "box_outside:" in note
        ]
        notes = list(source.notes)
        if outside:
            notes.append(
                f"augment.box_mix: {len(outside)} boxes of {source.name} lie outside of their "
                f"picture, first {outside[0]}; these stay whole"
            )
        for note in notes:
            on_event(Event("warning", "prepare", note))
    # Last, so that the scan is that of the first source and the store is read with all in it.
    return prepare(context, recipe, spec, on_event=on_event)


def box_mix_key(context: Context, recipe: Recipe) -> dict[str, str]:
    """A hash of all boxes of the further sources, for the keys of a run; {} for none."""
    lines = [
        [source.name, *line]
        for source in box_sources(context, recipe)
        for line in sorted(source.pictures[["image_id", "arguments"]].to_numpy().tolist())
    ]
    return {"boxes": content_key(lines)} if lines else {}


def with_other_keys(
    context: Context, recipe: Recipe, scan: pd.DataFrame, images: pd.DataFrame
) -> pd.DataFrame:
    """A table of training pictures with ``others``, keys of their pixels under each source.

    Without ``box_mix`` it stays as it is.

    Args:
        context: The competition.
        recipe: The settings.
        scan: Indexed by ``image_id``.
        images: ``image_id`` of pictures that can be used, and more.
    """
    sources = box_sources(context, recipe)
    if not sources:
        return images
    hashes = scan["sha256"].loc[images["image_id"]].tolist()
    columns = []
    for source in sources:
        arguments = source.pictures.set_index("image_id")["arguments"].loc[images["image_id"]]
        columns.append([pixel_key(*pair) for pair in zip(hashes, arguments, strict=True)])
    others = pd.Series(list(zip(*columns, strict=True)), images.index, dtype=object)
    return images.assign(others=others)


def source_names(recipe: Recipe) -> tuple[str, ...]:
    """The sources of boxes, the first first."""
    [step] = [step for step in recipe.preprocess if isinstance(step, CropBoxStep)]
    return step.annotations or "the tables", *(each.boxes for each in recipe.augment.box_mix)


def box_mix_text(recipe: Recipe) -> str:
    """Which boxes how often, in words; "" without ``box_mix``."""
    shares = [each.share for each in recipe.augment.box_mix]
    if not shares:
        return ""
    both = zip([1 - sum(shares), *shares], source_names(recipe), strict=True)
    return "boxes: " + ", ".join(f"{share:.0%} {name}" for share, name in both)


def box_mix_choices(context: Context, recipe: Recipe) -> dict[str, Any]:
    """What a run keeps about its sources of boxes; {} without ``box_mix``."""
    sources = box_sources(context, recipe)
    if not sources:
        return {}
    missing = {source.name: len(source.missing) for source in sources}
    return {"box_mix": {"text": box_mix_text(recipe), "missing": missing}}


def box_mix_notes(choices: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences on the boxes of a run's training pictures, of its ``choices``."""
    found = choices.get("box_mix")
    if found is None:
        return ()
    text = (
        f"Training pictures are cropped by {found['text'].removeprefix('boxes: ')}, drawn in "
    )
    text += "every epoch; validation and test pictures by the first."
    lacking = [f"{count} in {name}" for name, count in found["missing"].items() if count]
    if lacking:
        text += f" Pictures without a box keep their first one: {', '.join(lacking)}."
    return (text,)
