"""Step ``predict``: a finished run on any new pictures."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from gorae.config import Competition, Recipe, read_competition
from gorae.config.reading import validated
from gorae.data.decode import DecodePolicy, resize_short_side
from gorae.data.frames import Frames, frame_samples, frame_suffix
from gorae.data.listing import find_nameless_dicom, is_picture, walk_files
from gorae.data.pixels import PixelSpec
from gorae.ensemble import vote
from gorae.ensemble.borrow import borrow_opinions
from gorae.errors import DataError, UserError, list_problems
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import write_text
from gorae.inference import (
    Pictures,
)
from gorae.machine import num_cores
from gorae.models import (
    LoadedModel,
    ModelPlan,
    load_model,
    read_weights,
)
from gorae.models.plan import MetadataPlan
from gorae.models.weights import use_weights
from gorae.pipeline.context import open_context
from gorae.pipeline.job import kind_of
from gorae.pipeline.network import backbone_path
from gorae.pipeline.new_metadata import metadata_reader
from gorae.pipeline.open_set import with_unknown
from gorae.pipeline.opinions import OPINIONS, FinishedRun
from gorae.pipeline.pixels import model_parts, steps_for_new, stored_short_side
from gorae.pipeline.voters import join
from gorae.predictions import Predictions, aggregate_rows
from gorae.stores.prepared import ensure_prepared
from gorae.tabular.metadata import code_of
from gorae.workspace import RunFolder, Workspace, read_predictions

ImageLike = Path | str | Image.Image | NDArray[np.uint8]

# Columns of the CSV beside the probabilities.
_CSV_COLUMNS = ("image", "label", "problem")


@dataclass(frozen=True)
class PredictResult:
    """Where the predictions are."""

    path: Path
    predictions: Predictions
    failed: tuple[str, ...]
    """One line per picture that could not be read: its name and the reason."""

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "predictions": str(self.path),
            "num_images": len(self.predictions.ids),
            "failed": list(self.failed),
        }


@dataclass(frozen=True)
class LoadedRun(FinishedRun):
    """A finished run, ready to predict."""

    def predict(
        self,
        images: Path | str | Sequence[ImageLike],
        *,
        table: Path | pd.DataFrame | None = None,
        on_event: OnEvent = ignore_events,
    ) -> Predictions:
        """Predict pictures: a folder, or a list of paths, PIL images or uint8 (H, W, 3) arrays.

        Ids are the paths as given (below the folder, for a folder), or ``"0"``, ``"1"`` ...
        for pictures in memory. Of a DICOM file with several frames those are seen that the
        competition's test source says (its train source, where there is no test).

        A run of ``model.metadata`` reads what is known of the pictures in ``table``, which
        names them in any column; without, nothing is known of any, and a warning says so.

        Raises:
            DataError: A picture cannot be read; all such are named. ``gorae predict`` goes on
                without them.
        """
        found, failed = predict_images(self, images, table=table, on_event=on_event)
        if failed:
            raise DataError(
                f"{len(failed)} pictures cannot be read:\n{list_problems(_lines(failed))}"
            )
        return found


def load_run(path: Path | str) -> LoadedRun:
    """The finished run in the folder ``path`` (``COMPETITION/.gorae/runs/ID``).

    Raises:
        UserError: There is no finished run.
    """
    run = RunFolder(Path(path).resolve())
    if not run.settings.exists() or not run.result.exists():
        raise UserError(
            f"There is no finished run in {run.path}. `gorae board` lists the runs."
        )
    settings = run.read_settings()
    if "ensemble" in settings:
        raise UserError(
            f"{run.run_id} joins the runs {', '.join(settings['ensemble']['runs'])}. Predict "
            "with each of those."
        )
    recipe = validated(Recipe, settings["recipe"], origin=str(run.settings))
    if recipe.model.use == "tabular":
        raise UserError(
            f"{run.run_id} predicts from tables, and pictures alone have none. Put them "
            "with their metadata into the test table, and run it again."
        )
    return LoadedRun(
        run=run,
        workspace=Workspace(run.path.parents[2]),
        recipe=recipe,
        task=settings["choices"]["task"],
        columns=_known_columns(run),
    )


def _known_columns(run: RunFolder) -> tuple[str, ...]:
    """The columns that the members of a run speak of: without one for the unknown."""
    columns = read_predictions(run.oof).columns
    result = run.read_result()
    assert result is not None, "load_run looked for it"
    if result.get("unknown", {}).get("is_added"):
        return columns[:-1]
    return columns


def predict(
    folder: Path,
    *,
    run: str | None = None,
    images: Path,
    output: Path | None = None,
    table: Path | None = None,
    on_event: OnEvent = ignore_events,
) -> PredictResult:
    """Predict every picture below ``images`` with a run of the competition in ``folder``.

    Writes a CSV with the picture's path, its label, the probability of every class, and, where
    a picture cannot be read, what is wrong with it instead. A file is one line, also where
    ``frames = "all"``: its frames are joined as in a submission (``aggregate``). Frames that
    cannot be read beside others that can have lines of their own, ``PATH#frame=K``. The CSV
    file ``table`` holds metadata, for a run that looks at it.

    Raises:
        UserError: There is no such run, or the output is there already.
        DataError: There are no pictures.
    """
    workspace = Workspace(folder.resolve())
    target = workspace.run(run)
    path = output or target.path / f"predictions-{images.resolve().name}.csv"
    if path.exists():
        raise UserError(f"{path} is there already. Name another file with --output.")
    loaded = load_run(target.path)
    on_event(Event("stage", "predict", f"predicting {images} with {target.run_id}"))
    found, failed = predict_images(loaded, images, table=table, on_event=on_event)
    write_text(path, _as_csv(loaded, found, failed))
    lines = _lines(failed)
    for line in lines:
        on_event(Event("warning", "predict", f"not predicted: {line}"))
    return PredictResult(path, found, tuple(lines))


def _lines(failed: Mapping[str, str]) -> list[str]:
    return [f"{name}: {problem}" for name, problem in failed.items()]


def _as_csv(loaded: LoadedRun, found: Predictions, failed: Mapping[str, str]) -> str:
    # A class may be called like a column of ours.
    names = [f"class {name}" if name in _CSV_COLUMNS else name for name in found.columns]
    frame = pd.DataFrame(found.values, columns=names)
    if loaded.task in ("multiclass", "ordinal"):
        best = found.values.argmax(axis=1)
        frame.insert(0, "label", [found.columns[i] for i in best])
    frame.insert(0, "image", list(found.ids))
    if failed:
        problems = pd.DataFrame({"image": list(failed), "problem": list(failed.values())})
        frame = pd.concat([frame, problems], ignore_index=True).sort_values("image")
    text: str = frame.to_csv(index=False, float_format="%.8g", lineterminator="\n")
    return text


def predict_images(
    loaded: LoadedRun,
    images: Path | str | Sequence[ImageLike],
    *,
    table: Path | pd.DataFrame | None = None,
    on_event: OnEvent,
) -> tuple[Predictions, dict[str, str]]:
    """Predictions of the files that can be read, and what is wrong with each other one."""
    spec = run_spec(loaded.run)
    reader = metadata_reader(loaded.run, table, on_event)
    side = stored_short_side(loaded.recipe, spec)
    steps = steps_for_new(loaded.recipe, side)
    if not isinstance(images, (str, Path)) and not all(
        isinstance(i, (str, Path)) for i in images
    ):
        names, pixels = _from_memory(images, side, spec, steps)
        known = None if reader is None else reader.read(names, [0] * len(names))
        return _vote(loaded, Pictures(pixels, names, spec, names, known), on_event), {}
    with tempfile.TemporaryDirectory(prefix="gorae-predict-") as scratch:
        root, files = _listed(images)
        listing = _with_frames(files, root, _frames(loaded))
        prepared = ensure_prepared(
            listing,
            root=root,
            policy=DecodePolicy(),
            num_workers=num_cores(),
            prepared_root=Path(scratch),
            scan_path=Path(scratch) / "scan.parquet",
            short_side=side,
            interpolation=spec.interpolation,
            steps=steps,
        )
        bad = prepared.scan["verdict"] == "quarantined"
        good = listing.assign(key=prepared.keys)[~bad]
        failed = _failed(prepared.scan[bad], listing["file"][bad], set(good["file"]))
        if good.empty:
            raise DataError(
                f"None of the pictures can be read:\n{list_problems(_lines(failed))}"
            )
        sizes = prepared.scan["size_bytes"][~bad].tolist()
        pictures = Pictures(
            prepared.pixels,
            good["key"].tolist(),
            spec,
            good["image_id"].tolist(),
            None if reader is None else reader.read(good["file"].tolist(), sizes),
        )
        found = _vote(loaded, pictures, on_event)
    if len(good) > good["file"].nunique():
        how = _competition(loaded).aggregate
        found = aggregate_rows(found, good["file"].tolist(), how=how)
    return found, failed


def _competition(loaded: LoadedRun) -> Competition:
    return read_competition(loaded.workspace.competition_file)


def _frames(loaded: LoadedRun) -> Frames:
    """Which frames of new files are seen: those that were of the test set."""
    competition = _competition(loaded)
    return (competition.test or competition.train).frames


def _with_frames(files: pd.DataFrame, root: Path, rule: Frames) -> pd.DataFrame:
    """``image_id``, ``path``, ``arguments`` and ``file`` (its id) of each picture seen."""
    names = files["image_id"].tolist()
    samples = frame_samples(names, rule, places=files["path"].tolist(), root=root)
    listing = files.rename(columns={"image_id": "file"}).assign(
        arguments=pd.Series(samples, files.index, dtype=object)
    )
    listing = listing.explode("arguments", ignore_index=True)
    ids = listing["file"] + listing["arguments"].map(frame_suffix)
    return listing.assign(image_id=ids)


def _failed(bad: pd.DataFrame, files: "pd.Series[str]", seen: set[str]) -> dict[str, str]:
    """What is wrong, by file; by frame, where other frames of the file can be read."""
    return {
        str(row.image_id) if file in seen else file: f"{row.reason} ({row.detail})"
        for row, file in zip(bad.itertuples(), files, strict=True)
    }


@dataclass(frozen=True)
class _MemoryPixels:
    """Pictures in memory, by name, as a store gives them."""

    pixels: dict[str, NDArray[np.uint8]]

    def read(self, sha256: str) -> NDArray[np.uint8]:
        return self.pixels[sha256]

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self.pixels


def _from_memory(
    images: Sequence[ImageLike],
    short_side: int,
    spec: PixelSpec,
    steps: Sequence[Mapping[str, Any]],
) -> tuple[list[str], _MemoryPixels]:
    pixels = {}
    for index, image in enumerate(images):
        array = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise DataError(
                f"Picture {index} is {array.dtype} {array.shape}; pictures in memory are PIL "
                "images or uint8 arrays (H, W, 3), and are not mixed with paths."
            )
        if steps:
            # OpenCV takes half a second to load, and most recipes have no steps.
            from gorae.preprocess.steps import apply_steps

            array = apply_steps(array, steps).pixels
        pixels[str(index)] = resize_short_side(
            array, short_side=short_side, interpolation=spec.interpolation
        )
    return list(pixels), _MemoryPixels(pixels)


def _listed(images: Path | str | Sequence[ImageLike]) -> tuple[Path, pd.DataFrame]:
    """The root and the table (image_id, path) of pictures on disk."""
    if isinstance(images, (str, Path)):
        root = Path(images).resolve()
        if not root.is_dir():
            raise UserError(f"There is no folder {images}.")
        every = list(walk_files(root))
        nameless = find_nameless_dicom({name: name for name in every}, root)
        names = [name for name in every if is_picture(name) or name in nameless]
        if not names:
            raise DataError(f"There are no pictures in {images}.")
        return root, pd.DataFrame({"image_id": names, "path": names})
    paths = [Path(str(image)).absolute() for image in images]
    if not paths:
        raise DataError("There are no pictures to predict.")
    if len(set(paths)) != len(paths):
        raise DataError("A path is listed twice.")
    relative = [str(path.relative_to(path.anchor)) for path in paths]
    return Path(paths[0].anchor), pd.DataFrame(
        {"image_id": [str(image) for image in images], "path": relative}
    )


def run_spec(run: RunFolder) -> PixelSpec:
    """The input pixels a run was made with."""
    record = dict(run.read_settings()["choices"]["spec"])
    return PixelSpec(mean=tuple(record.pop("mean")), std=tuple(record.pop("std")), **record)


def _vote(loaded: LoadedRun, pictures: Pictures, on_event: OnEvent) -> Predictions:
    assert pictures.ids is not None
    ids = tuple(pictures.ids)
    network = network_of(loaded)
    says = OPINIONS[loaded.recipe.model.use](loaded, network, pictures, on_event)
    # In the order and with the weights that the test set was voted on with.
    voters = _test_voters(loaded)
    kind, how = kind_of(loaded.task, loaded.recipe), loaded.recipe.predict.vote
    members = [
        Predictions(ids, loaded.columns, says[member, checkpoint, view], kind)
        for member, checkpoint, view, _ in voters
    ]
    weights = [weight for *_, weight in voters]
    if how == "subtask":
        return join(open_context(loaded.workspace.folder), members, how, weights)
    unknown = (loaded.run.read_result() or {}).get("unknown")
    if unknown:
        unlearned = unknown.get("unlearned", {})
        members = borrow_opinions(members, [unlearned.get(member, ()) for member, *_ in voters])
    voted = vote(members, how, weights=weights)
    return with_unknown(voted, unknown["label"], unknown["score"]) if unknown else voted


def _test_voters(loaded: LoadedRun) -> list[tuple[str, str, str, float]]:
    """Member, checkpoint, view and weight of each voice."""
    result = loaded.run.read_result()
    assert result is not None, "load_run looked for it"
    if "voters" in result:
        return [
            (v["member"], v["checkpoint"], v["view"], v["weight"]) for v in result["voters"]
        ]
    # A competition without test pictures: all alike.
    records = [(member.name, member.read_record()) for member in loaded.run.members()]
    return [
        (name, checkpoint, view, 1.0)
        for name, record in records
        for checkpoint in record["used_checkpoints"]
        for view in record["views"]
    ]


def network_of(loaded: LoadedRun) -> LoadedModel:
    """The run's network; its weights come from the run, never from the file it began with."""
    choices = loaded.run.read_settings()["choices"]
    model = loaded.recipe.model
    # Absent from runs that are about no parts, and from those before there were any.
    parts = model_parts(loaded.recipe, loaded.task, choices.get("part_sizes", ()))
    network = load_model(
        ModelPlan(
            name=model.name,
            weights="none",
            num_outputs=choices["num_outputs"],
            num_logits=choices.get("num_logits"),
            encoder_channels=choices.get("encoder_channels"),
            kwargs=choices["kwargs"],
            pixels=run_pixels(loaded.run),
            layer=model.layer,
            metadata=_metadata(loaded),
            **parts,
        ),
        folder=loaded.workspace.folder,
    )
    if model.use != "finetune":
        path = backbone_path(loaded.workspace, loaded.run)
        use_weights(
            network.model,
            read_weights(path),
            name=model.name,
            keep_classifier=model.use == "as_is",
        )
    return network


def _metadata(loaded: LoadedRun) -> MetadataPlan | None:
    record = loaded.run.read_settings()["choices"].get("metadata")
    if record is None:
        return None
    return code_of(record).plan(loaded.recipe.model.metadata_widths)


def run_pixels(run: RunFolder) -> dict[str, Any]:
    """The run's pixel spec as the fields of a recipe."""
    record = dict(run.read_settings()["choices"]["spec"])
    record.pop("sources")
    return record
