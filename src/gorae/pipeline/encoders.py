"""Where autoencoders lie, and which of them a recipe names. Without torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gorae.config import Recipe
from gorae.config.preparing import plain_steps
from gorae.errors import ConfigError
from gorae.models.encoder import read_encoder_info
from gorae.workspace import Workspace

ENCODER_FILE = "encoder.safetensors"
RECORD_FILE = "record.json"

NEWEST = "newest"


def find_encoder(workspace: Workspace, value: str | None) -> Path | None:
    """The file of the encoder that ``model.encoder`` names; None where it names none.

    Args:
        workspace: The competition; relative paths start at its folder or, where there is no
            such file, at the folder one stands in.
        value: The name of a finished autoencoder of this competition, the beginning of one,
            a path, or ``newest``.

    Raises:
        ConfigError: There is none, or more than one; those there are are listed.
    """
    if value is None:
        return None
    given = Path(value).expanduser()
    for path in (workspace.folder / given, given):
        if path.is_file():
            return path.absolute()
    finished = sorted(
        workspace.autoencoders.glob(f"*/{RECORD_FILE}"),
        key=lambda path: (path.stat().st_mtime_ns, path.parent.name),
    )
    names = [path.parent.name for path in finished]
    fitting = names[-1:] if value == NEWEST else [n for n in names if n.startswith(value)]
    if len(fitting) == 1:
        return workspace.autoencoders / fitting[0] / ENCODER_FILE
    known = f"Autoencoders here: {', '.join(names)}." if names else "There is none here yet."
    raise ConfigError(
        f"model.encoder = {value!r} names {len(fitting) or 'no'} autoencoder"
        f"{'s' if len(fitting) > 1 else ''} of this competition and no file. {known} "
        "`gorae autoencoder` trains one."
    )


def with_named_encoder(workspace: Workspace, recipe: Recipe) -> Recipe:
    """The recipe with the name of the autoencoder that ``newest`` means now.

    Raises:
        ConfigError: There is none.
    """
    if recipe.model.encoder != NEWEST:
        return recipe
    file = find_encoder(workspace, NEWEST)
    assert file is not None
    named = recipe.model.model_copy(update={"encoder": file.parent.name})
    return recipe.model_copy(update={"model": named})


def encoder_notes(file: Path, recipe: Recipe) -> tuple[str, ...]:
    """What a user should know of an encoder before ``recipe`` is trained with it."""
    info = read_encoder_info(file)
    notes = [
        "The encoder has learned, without labels, from train pictures that validate here."
        if not info.uses_test
        else "The encoder has learned, without labels, from the test pictures and from train "
        "pictures that validate here (transductive)."
    ]
    steps = plain_steps(recipe.preprocess)
    if list(info.preprocess) != steps:
        theirs, ours = _named_steps(info.preprocess), _named_steps(steps)
        notes.append(
            f"The encoder was trained on pictures prepared by {theirs}, and these are prepared "
            f"by {ours}; expect worse predictions unless [[preprocess]] is the same."
        )
    return tuple(notes)


def _named_steps(steps: Sequence[Mapping[str, Any]]) -> str:
    # Two lists of equal names may differ in numbers.
    texts = [
        " ".join([step["step"], *(f"{k}={v}" for k, v in step.items() if k != "step")])
        for step in steps
    ]
    return ", ".join(texts) or "no step"
