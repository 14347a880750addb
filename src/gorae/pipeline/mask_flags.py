"""The command line of iloveslowfood/ImageClassfication as settings of gorae: one table.

Names are written with ``_`` or ``-``. What gorae does otherwise, and why, stands with each.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gorae.errors import ConfigError, list_problems

Command = str
TRAIN, SINGULAR, ENSEMBLE = "train", "submit_singular", "submit_ensemble"
_SENT = (SINGULAR, ENSEMBLE)


@dataclass(frozen=True)
class Flag:
    """One flag: what it becomes, its default, and where it is taken."""

    becomes: str
    """The setting it is, and what differs from the source."""
    default: str | None = None
    commands: tuple[Command, ...] = (TRAIN,)
    choices: tuple[str, ...] = ()
    """Values, of which a source's other spelling is also known (``_SPELLINGS``)."""
    refused: Mapping[Command, str] | None = None
    """Commands that know it and cannot take it, with the reason."""


TASKS: dict[str, dict[str, Any]] = {
    "main": {},
    "mask": {"part": "mask"},
    "gender": {"part": "gender"},
    "ageg": {"part": "age"},
    "age": {"part": "age", "part_as": "number"},
    "age_clf": {"part": "age", "part_as": "each"},
}

_VANILLA = {"head": "vanilla", "drop_rate": 0.5}
_B3, _B0 = "tf_efficientnet_b3.aa_in1k", "tf_efficientnet_b0.aa_in1k"

MODELS: dict[str, dict[str, Any]] = {
    "VanillaEfficientNet": {"name": _B3, **_VANILLA},
    "VanillaResNet": {"name": "resnet50.tv_in1k", **_VANILLA},
    "MultiClassTHANet": {"name": _B3, "head": "thanet", "drop_rate": 0.5},
    "MultiLabelTHANet": {"name": _B0, "head": "thanet", "drop_rate": 0.5, "outputs": "parts"},
    "THANet": {"name": _B3, "outputs": "both"},
}

# The middle 384 x 384 of 384 x 512, at 224.
PIXELS = {
    "input_size": 224,
    "crop_pct": 1.0,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "interpolation": "bilinear",
}

LOSSES: dict[str, dict[str, Any]] = {
    "labelsmoothing": {
        "kind": "cross_entropy",
        "label_smoothing": 0.2,
        "smoothing_form": "others",
    },
    "crossentropy": {"kind": "cross_entropy"},
    "focal": {"kind": "focal", "focal_gamma": 5.0},
    "mse": {"kind": "mse"},
    "smoothl1": {"kind": "smooth_l1"},
}
_OF_NUMBERS = ("mse", "smoothl1")

OPTIMISERS: dict[str, dict[str, Any]] = {
    "adam": {"weight_decay": 0.0},
    "sgd": {"weight_decay": 0.0},
    "momentum": {"momentum": 0.9, "weight_decay": 0.0},
    "adamp": {"weight_decay": 0.01},
    "adamw": {"weight_decay": 0.01},
}

SCHEDULES = ("cosine", "cosine_restarts", "step", "plateau", "constant")

POLICIES = ("base", "random", "tta", "facecrop")

VOTES = {"soft": ("arithmetic", "geometric", "weighted"), "hard": ("hard",)}
VOTES["all"] = (*VOTES["soft"], *VOTES["hard"])

# Views of --tta N: the first N. The source repeats a random crop N times.
VIEWS = (
    *("identity", "hflip", "scale0.875", "scale0.875+hflip", "scale0.75", "scale0.75+hflip"),
    *("corner_tl", "corner_tr", "corner_bl", "corner_br"),
)

# Other spellings of the source's values.
_SPELLINGS = {
    "labelsmootingloss": "labelsmoothing",
    "labelsmoothingloss": "labelsmoothing",
    "crossentropyloss": "crossentropy",
    "focalloss": "focal",
    "mseloss": "mse",
    "smoothl1loss": "smoothl1",
    "multiclassthanetmk1": "multiclassthanet",
    "thanetmk1": "thanet",
    "softvoting": "soft",
    "hardvoting": "hard",
    "none": "constant",
}

_OF_TRAINING = dict.fromkeys(
    _SENT, "it belongs to the training, and a trained run keeps what it was trained with"
)

FLAGS: dict[str, Flag] = {
    "task": Flag(
        "[target] part; age is the number itself, age_clf each year a class; when submitting, "
        "what the run must have learned",
        "main",
        (TRAIN, *_SENT),
        tuple(TASKS),
    ),
    "model_type": Flag(
        "[model] name, head, outputs; on pooled features (the source: on 1000 logits, "
        "--set model.features=logits); THANet is the multi-head; when submitting, a check",
        "VanillaEfficientNet",
        (TRAIN, *_SENT),
        tuple(MODELS),
    ),
    "load_state_dict": Flag(
        "a weight file: model.weights; a run: train.start, fold by fold; submit_singular: the "
        "checkpoint (RUN/fold-0, or its file), absent: the best",
        None,
        (TRAIN, SINGULAR),
        refused={ENSEMBLE: "an ensemble is of a whole run: name it by --root"},
    ),
    "train_root": Flag("the folder of the competition", None, refused=_OF_TRAINING),
    "valid_root": Flag(
        "refused",
        None,
        (),
        refused={
            **_OF_TRAINING,
            TRAIN: "whole persons are held out of the train set itself (--cv); a validation "
            "set of its own is [holdout] in competition.toml",
        },
    ),
    "data_root": Flag(
        "the folder of the competition; a folder within it does as well; absent: the folder "
        "you stand in (the source: ./input/data/images)",
        None,
        (TRAIN, *_SENT),
    ),
    "transform_type": Flag(
        "augment.policy; evaluation is one centre crop, never drawn",
        "base",
        (TRAIN,),
        POLICIES,
        dict.fromkeys(
            _SENT, "evaluation is the centre crop of the run, never drawn; see --tta"
        ),
    ),
    "age_filter": Flag(
        "train.part_thresholds = {age = [30, N]}: labels that are learned only; 60 and absent: "
        "none",
        None,
        refused=_OF_TRAINING,
    ),
    "epochs": Flag("train.epochs", "30", refused=_OF_TRAINING),
    "cv": Flag(
        "split.num_folds, of whole persons; 1: one tenth of the persons held out",
        "5",
        refused=_OF_TRAINING,
    ),
    "batch_size": Flag("train.batch_size", "32", refused=_OF_TRAINING),
    "val_batch_size": Flag(
        "predict.batch_size: speed and memory only; absent: what suits the machine (the "
        "source: 1024)",
        None,
        refused=dict.fromkeys(_SENT, "the test set was predicted when the run was trained"),
    ),
    "optim_type": Flag(
        "train.optimizer; momentum is 0.9; weight decay 0.01 of adamp and adamw, else 0",
        "adam",
        choices=tuple(OPTIMISERS),
        refused=_OF_TRAINING,
    ),
    "loss_type": Flag(
        "[loss]; smoothing 0.2 over the K - 1 others, focal gamma 5; of --task age: mse",
        "labelsmoothing",
        choices=tuple(LOSSES),
        refused=_OF_TRAINING,
    ),
    "lr": Flag("train.lr and train.backbone_lr", "1e-3", refused=_OF_TRAINING),
    "lr_scheduler": Flag(
        "train.schedule; cosine falls over all steps of the training (the source's went up and "
        "down every 50 batches, which was not meant)",
        "cosine",
        choices=SCHEDULES,
        refused=_OF_TRAINING,
    ),
    "seed": Flag("seed", "42", refused=_OF_TRAINING),
    "save_path": Flag(
        "the folder of the CSV files",
        "./prediction",
        _SENT,
        refused={TRAIN: "weights and predictions lie in the run, .gorae/runs/RUN"},
    ),
    "root": Flag(
        "the run, by its id or folder; absent: the newest that learned the classes",
        None,
        _SENT,
        refused={TRAIN: "a training makes a run of its own"},
    ),
    "top_k": Flag(
        "train: train.keep_checkpoints and predict.use_checkpoints; submit_ensemble: the best "
        "K of each fold, at most those; absent there: all",
        "3",
        (TRAIN, ENSEMBLE),
        refused={SINGULAR: "it sends one checkpoint"},
    ),
    "method": Flag(
        "soft writes submission_ens_arithmetic, _geometric and _weighted_avg.csv; hard "
        "submission_ens_hardvoting.csv; all: the four",
        "soft",
        (ENSEMBLE,),
        tuple(VOTES),
        {
            TRAIN: "a vote is chosen when submitting",
            SINGULAR: "one checkpoint has no vote",
        },
    ),
    "tta": Flag(
        f"predict.views, the first N of {', '.join(VIEWS[:4])} ...; when submitting, at most "
        "those of the run; absent there: all",
        "1",
        (TRAIN, *_SENT),
    ),
}


def parse_flags(command: Command, words: Sequence[str]) -> dict[str, str]:
    """Flags as they were typed, by their name with ``_``; those not given are not there.

    Raises:
        ConfigError: All of them that are unknown, without a value, or not for this command.
    """
    given: dict[str, str] = {}
    problems: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if not word.startswith("--") or name not in FLAGS:
            near = difflib.get_close_matches(name, FLAGS, n=1)
            problems.append(f"{word}: no such flag" + (f"; near: --{near[0]}" if near else ""))
            continue
        if not equals and (not left or left[0].startswith("--")):
            problems.append(f"--{name} needs a value")
            continue
        value = value if equals else left.pop(0)
        flag = FLAGS[name]
        if command not in flag.commands:
            problems.append(f"--{name} is not taken here: {(flag.refused or {})[command]}")
        elif name in given:
            problems.append(f"--{name} is given twice")
        given[name] = value
        if flag.choices and (known := _choice(flag, value)) is None:
            problems.append(f"--{name} {value}: one of {', '.join(flag.choices)}")
        elif flag.choices:
            given[name] = known or value
    if problems:
        raise ConfigError(
            f"{len(problems)} flag(s) of `gorae mask {command}`:\n{list_problems(problems)}"
        )
    return given


def _choice(flag: Flag, value: str) -> str | None:
    """The choice that a text means, in any case and spelling of the source."""
    plain = _plain(value)
    plain = _SPELLINGS.get(plain, plain)
    return next((each for each in flag.choices if _plain(each) == _plain(plain)), None)


def _plain(text: str) -> str:
    return text.lower().replace("_", "").replace("-", "")


def with_defaults(command: Command, given: Mapping[str, str]) -> dict[str, str]:
    """The flags of a command: as given, or the source's default where there is one."""
    taken = {name: flag for name, flag in FLAGS.items() if command in flag.commands}
    if command != TRAIN:
        # All else is as the run was trained.
        taken = {name: taken[name] for name in ("save_path", "method") if name in taken}
    found = {name: flag.default for name, flag in taken.items() if flag.default is not None}
    if given.get("task") == "age" and "loss_type" not in given and "loss_type" in found:
        found["loss_type"] = "mse"
    return {**found, **given}


def train_recipe(given: Mapping[str, str]) -> dict[str, Any]:
    """The recipe, as a TOML table, of what `gorae mask train` was told.

    Raises:
        ConfigError: A value is no number, or flags do not fit each other; all are named.
    """
    flags = with_defaults(TRAIN, given)
    problems = _misfits(flags, given)
    number = _Numbers(flags, problems)
    epochs, folds, top_k = number.whole("epochs"), number.whole("cv"), number.whole("top_k")
    views = VIEWS[: number.whole("tta", most=len(VIEWS))]
    lr = number.positive("lr")
    optimizer, schedule = flags["optim_type"], flags["lr_scheduler"]
    table: dict[str, Any] = {
        "preset": "standard",
        "name": f"mask-{flags['task']}-{flags['model_type']}".lower(),
        "seed": number.whole("seed", least=0),
        "split": {"kind": "kfold", "num_folds": folds}
        if folds > 1
        else {"kind": "holdout", "holdout_share": 0.1},
        "model": {"use": "finetune", **MODELS[flags["model_type"]]},
        "pixels": dict(PIXELS),
        "augment": {"policy": flags["transform_type"]},
        "loss": dict(LOSSES[flags["loss_type"]]),
        "train": {
            "epochs": epochs,
            "batch_size": number.whole("batch_size"),
            "lr": lr,
            "backbone_lr": lr,
            "optimizer": optimizer,
            **OPTIMISERS[optimizer],
            "schedule": schedule,
            **({} if schedule == "constant" else {"warmup_epochs": 0.0}),
            "keep_checkpoints": top_k,
        },
        "predict": {"views": list(views), "use_checkpoints": top_k, "vote": "arithmetic"},
    }
    if TASKS[flags["task"]]:
        table["target"] = dict(TASKS[flags["task"]])
    if "val_batch_size" in flags:
        table["predict"]["batch_size"] = number.whole("val_batch_size")
    if "age_filter" in flags and (age := number.positive("age_filter")) != 60:
        table["train"]["part_thresholds"] = {"age": [30.0, age]}
    if "load_state_dict" in flags:
        source = flags["load_state_dict"]
        is_file = Path(source).suffix in (".pth", ".pt", ".bin", ".safetensors")
        table["model" if is_file else "train"]["weights" if is_file else "start"] = source
    if problems:
        raise ConfigError(f"{len(problems)} flag(s) cannot be used:\n{list_problems(problems)}")
    return table


def _misfits(flags: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    task, model, loss = flags["task"], flags["model_type"], flags["loss_type"]
    problems = []
    if task != "main" and "THANet" in model:
        problems.append(
            f"--model_type {model} answers all parts of the label: it needs --task main"
        )
    if (task == "age") != (loss in _OF_NUMBERS):
        fitting = [name for name in LOSSES if (name in _OF_NUMBERS) == (task == "age")]
        what = "a number" if task == "age" else "a class"
        problems.append(
            f"--loss_type {loss}: --task {task} is {what}; it fits {', '.join(fitting)}"
        )
    if "age_filter" in flags and task not in ("main", "ageg"):
        problems.append(f"--age_filter: --task {task} has no age groups")
    if {"data_root", "train_root"} <= set(given):
        problems.append("--data_root and --train_root both name the competition: give one")
    return problems


class _Numbers:
    """Flags as numbers; what is none is noted among ``problems``."""

    def __init__(self, flags: Mapping[str, str], problems: list[str]) -> None:
        self.flags, self.problems = flags, problems

    def whole(self, name: str, *, least: int = 1, most: int | None = None) -> int:
        text = self.flags[name]
        number = int(text) if text.isascii() and text.isdigit() else -1
        if number < least or (most is not None and number > most):
            top = "" if most is None else f" to {most}"
            self.problems.append(f"--{name} {text}: a whole number from {least}{top}")
            return least
        return number

    def positive(self, name: str) -> float:
        try:
            number = float(self.flags[name])
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            self.problems.append(f"--{name} {self.flags[name]}: a number above 0")
            return 1.0
        return number


def describe_flags(command: Command | None = None) -> list[tuple[str, str]]:
    """Each flag with its values, what it becomes and its default, for the help.

    Args:
        command: Whose flags; absent: all there are, with the defaults of the training.
    """
    lines = []
    defaults = (
        with_defaults(command, {}) if command else {n: f.default for n, f in FLAGS.items()}
    )
    for name, flag in FLAGS.items():
        if command is not None and command not in flag.commands:
            continue
        values = f"{{{', '.join(flag.choices)}}} " if flag.choices else ""
        default = defaults.get(name)
        shown = "" if default is None else f" [{default}]"
        lines.append((f"--{name}", f"{values}{flag.becomes}{shown}"))
    return lines
