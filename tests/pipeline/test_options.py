"""Every setting changes something: what is trained or predicted, or what its own test shows."""

from pathlib import Path

import pytest

from gorae.config import Recipe, resolve_recipe
from gorae.config.reading import known_settings
from gorae.errors import ConfigError
from gorae.files import sha256_file
from gorae.pipeline.init import init
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.split import split
from gorae.pipeline.train import train

from .conftest import write_competition

BASE = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.kind=holdout",
    "train.epochs=2",
    "train.batch_size=8",
    "train.precision=fp32",
    "train.channels_last=true",
    "train.compile=false",
    "predict.compile=false",
    "train.threads=1",
    "train.workers=0",
    # All of them: the best may be the first, and what comes later would not be seen.
    "train.keep_checkpoints=30",
)

# Each setting, what it is set to, and what must be set for it to have an effect.
CHANGES: dict[str, tuple[str, ...]] = {
    "seed": ("seed=1",),
    "split.holdout_share": ("split.holdout_share=0.4",),
    "split.seed": ("split.seed=1",),
    "split.group": ("split.group=false",),
    "split.stratify": ("split.stratify=false",),
    "preprocess": ('preprocess=[{step="greyscale"}]',),
    "model.name": ("model.name=test_resnet",),
    "model.kwargs": ("model.kwargs={in_chans=1}",),
    "model.head": ("model.head=vanilla",),
    "model.neck": ("model.head=cosine", "model.neck=bn_linear_bn"),
    "model.embedding": ("model.head=cosine", "model.embedding=8"),
    "model.centres": ("model.head=cosine", "model.centres=2"),
    "model.scale": ("model.head=cosine", "model.scale=10"),
    "model.drop_rate": ("model.drop_rate=0.5",),
    "model.drop_copies": ("model.drop_copies=4", "model.drop_rate=0.5"),
    "model.drop_path": ("model.drop_path=0.5", "model.name=test_convnext"),
    "model.pooling": ("model.pooling=gem", "model.name=test_resnet"),
    "model.pool_stages": ("model.pool_stages=2", "model.name=test_resnet"),
    "pixels.input_size": ("pixels.input_size=48",),
    "pixels.train_size": ("pixels.train_size=24",),
    "pixels.mean": ("pixels.mean=[0.1, 0.1, 0.1]",),
    "pixels.std": ("pixels.std=[0.1, 0.1, 0.1]",),
    "pixels.interpolation": ("pixels.interpolation=bicubic",),
    "pixels.crop_pct": ("pixels.crop_pct=0.7",),
    "pixels.stored_short_side": ("pixels.stored_short_side=33",),
    "augment.policy": ("augment.policy=none",),
    "augment.center_square": ("augment.center_square=true",),
    "augment.face_crop": ("augment.face_crop=1",),
    "augment.scale": ("augment.scale=[0.9, 1]",),
    "augment.ratio": ("augment.ratio=[1, 1]",),
    "augment.hflip": ("augment.hflip=0",),
    "augment.vflip": ("augment.vflip=0.5",),
    "augment.transpose": ("augment.transpose=0.5",),
    "augment.rand_ops": ("augment.rand_ops=2",),
    "augment.rand_magnitude": ("augment.rand_ops=2", "augment.rand_magnitude=20"),
    "augment.transforms": ('augment.transforms=[{name="RandomGrayscale", p=0.9}]',),
    "augment.cutout": ("augment.cutout=1",),
    "augment.cutout_side": ("augment.cutout=1", "augment.cutout_side=0.2"),
    "augment.erasing": ("augment.erasing=1",),
    "augment.mixup": ("augment.mixup=1",),
    "augment.cutmix": ("augment.cutmix=1",),
    "augment.half_cutmix": ("augment.half_cutmix=1",),
    "augment.rare_classes": ("augment.half_cutmix=1", 'augment.rare_classes=["원"]'),
    "augment.mix_share": ("augment.mixup=1", "augment.mix_share=0.3"),
    "loss.kind": ("loss.kind=focal",),
    "loss.label_smoothing": ("loss.label_smoothing=0.2",),
    "loss.smoothing_form": ("loss.label_smoothing=0.2", "loss.smoothing_form=others"),
    "loss.focal_gamma": ("loss.kind=focal", "loss.focal_gamma=5"),
    "loss.asymmetric_gammas": ("loss.kind=asymmetric", "loss.asymmetric_gammas=[1, 2]"),
    "loss.asymmetric_clip": ("loss.kind=asymmetric", "loss.asymmetric_clip=0.2"),
    "loss.soft_f1_weights": ("loss.kind=soft_f1", "loss.soft_f1_weights=[0.3, 0.7]"),
    "loss.class_weight_power": ("loss.class_weight_power=1",),
    "loss.class_weight_as_max": (
        "loss.class_weight_power=1",
        'loss.class_weight_as_max=["원"]',
    ),
    "loss.class_weight_cap": ("loss.class_weight_power=1", "loss.class_weight_cap=0.6"),
    "loss.margin": ("model.head=cosine", "loss.margin=0.4"),
    "loss.margin_range": ("model.head=cosine", "loss.margin_range=[0.1, 0.5]"),
    "loss.margin_power": ("model.head=cosine", "loss.margin_power=[0.3, -0.4, 0.05]"),
    "loss.weight_column": ("loss.weight_column=weight",),
    "train.epochs": ("train.epochs=3",),
    "train.batch_size": ("train.batch_size=6",),
    "train.accumulate": ("train.accumulate=2",),
    "train.lr": ("train.lr=0.01",),
    "train.backbone_lr": ("train.backbone_lr=0.0001",),
    "train.layer_decay": ("train.layer_decay=0.5",),
    "train.optimizer": ("train.optimizer=sgd",),
    "train.momentum": ("train.optimizer=momentum", "train.momentum=0.5"),
    "train.weight_decay": ("train.weight_decay=0.5",),
    "train.schedule": ("train.schedule=constant",),
    "train.warmup_epochs": ("train.warmup_epochs=0",),
    "train.decay_epochs": ("train.schedule=step", "train.decay_epochs=1"),
    "train.milestones": ("train.schedule=multi_step", "train.milestones=[1]"),
    "train.decay_factor": (
        "train.schedule=step",
        "train.decay_epochs=1",
        "train.decay_factor=0.5",
    ),
    "train.plateau_patience": (
        "train.schedule=plateau",
        "train.plateau_patience=1",
        "train.epochs=6",
        "train.lr=1e-6",
    ),
    "train.restart_epochs": ("train.schedule=cosine_restarts", "train.restart_epochs=1"),
    "train.restart_factor": (
        "train.schedule=cosine_restarts",
        "train.restart_epochs=0.5",
        "train.restart_factor=2",
    ),
    "train.min_lr_share": ("train.min_lr_share=0.5",),
    "train.freeze": ("train.freeze=backbone",),
    "train.unfreeze_every": ("train.unfreeze_every=1",),
    "train.clip_norm": ("train.clip_norm=0.01",),
    "train.ema": ("train.ema=true",),
    "train.ema_decay": ("train.ema=true", "train.ema_decay=0.05"),
    "train.swa_epochs": ("train.swa_epochs=1",),
    "train.swa_lr_share": ("train.swa_epochs=1", "train.swa_lr_share=1"),
    "train.progressive": ("train.progressive=[0.5, 1]", "pixels.input_size=64"),
    "train.fixres_epochs": ("train.fixres_epochs=1",),
    "train.patience": ("train.patience=1", "train.epochs=20", "train.lr=1e-8"),
    "train.keep_checkpoints": ("train.keep_checkpoints=1",),
    "train.shuffle": ("train.shuffle=false",),
    "train.sampler": ("train.sampler=weighted",),
    "train.sampler_power": ("train.sampler=weighted", "train.sampler_power=0.2"),
    "train.drop_last": ("train.drop_last=true", "train.batch_size=7"),
    "train.batch_hook": ("train.batch_hook=hook.py:darken",),
    "train.precision": ("train.precision=bf16",),
    "predict.views": ('predict.views=["identity"]',),
    "predict.use_checkpoints": ("predict.use_checkpoints=2",),
    "predict.precision": (
        "predict.precision=int8",
        "model.name=resnet10t",
        "pixels.input_size=64",
    ),
    "augment.flip_identities": ("augment.flip_identities=true", "augment.hflip=0"),
    "augment.box_mix": (
        'augment.box_mix=[{boxes="whole", share=0.5}]',
        'preprocess=[{step="crop_box", annotations="boxes.csv", image_column="id", '
        'box_columns=["box"], box_format="xyxy"}]',
    ),
    "predict.retrieval_share": ("predict.retrieval_share=0.5",),
    "predict.retrieval_neighbours": (
        "predict.retrieval_share=0.5",
        "predict.retrieval_neighbours=1",
    ),
}

# What a setting is compared with where it cannot be left out.
INSTEAD = {"train.milestones": "train.milestones=[0.5]"}

# Not seen in weights or predictions; what each does is shown elsewhere.
ELSEWHERE = {
    "name": "tests/pipeline/test_run.py",
    "refit": "tests/pipeline/test_run.py",
    "split.kind": "tests/pipeline/test_split.py",
    "split.num_folds": "tests/pipeline/test_split.py",
    "split.repeats": "tests/pipeline/test_split.py",
    "split.near_duplicates": "tests/pipeline/test_split.py",
    "split.similarity": "tests/pipeline/test_split.py",
    "split.stratify_columns": "tests/pipeline/test_split.py",
    "model.weights": "tests/models/test_load.py",
    "model.use": "tests/pipeline/test_run.py",
    "model.class_table": "tests/pipeline/test_as_is.py",
    "model.outputs": "tests/pipeline/test_composed.py",
    "model.features": "tests/pipeline/test_composed.py",
    "loss.part_weights": "tests/pipeline/test_composed.py",
    "model.layer": "tests/models/test_network.py",
    "model.metadata": "tests/pipeline/test_metadata.py",
    "model.metadata_columns": "tests/pipeline/test_metadata.py",
    "model.metadata_widths": "tests/models/test_metadata_net.py",
    "target.column": "tests/pipeline/test_finer_target.py",
    "target.merge": "tests/pipeline/test_finer_target.py",
    "model.encoder": "tests/pipeline/test_autoencoder.py",
    "autoencoder.channels": "tests/pipeline/test_autoencoder.py",
    "autoencoder.epochs": "tests/pipeline/test_autoencoder.py",
    "autoencoder.batch_size": "tests/pipeline/test_autoencoder.py",
    "autoencoder.lr": "tests/pipeline/test_autoencoder.py",
    "autoencoder.valid_share": "tests/pipeline/test_autoencoder.py",
    "autoencoder.uses_test": "tests/pipeline/test_autoencoder.py",
    "head.kind": "tests/heads/test_heads.py",
    "head.strengths": "tests/heads/test_heads.py",
    "head.hidden": "tests/heads/test_heads.py",
    "loss.smooth_l1_beta": "tests/training/test_losses.py",
    "tabular.columns": "tests/pipeline/test_tabular.py",
    "tabular.scores": "tests/pipeline/test_tabular.py",
    "tabular.top_ranks": "tests/pipeline/test_tabular.py",
    "tabular.groups": "tests/pipeline/test_tabular.py",
    "tabular.rounds": "tests/pipeline/test_tabular.py",
    "tabular.patience": "tests/pipeline/test_tabular.py",
    "tabular.learning_rate": "tests/pipeline/test_tabular.py",
    "tabular.leaves": "tests/pipeline/test_tabular.py",
    "tabular.min_leaf_rows": "tests/pipeline/test_tabular.py",
    "tabular.row_share": "tests/pipeline/test_tabular.py",
    "tabular.column_share": "tests/pipeline/test_tabular.py",
    "train.start": "tests/pipeline/test_start.py",
    "pseudo.labels": "tests/pipeline/test_pseudo.py",
    "pseudo.kind": "tests/pipeline/test_pseudo.py",
    "pseudo.threshold": "tests/pipeline/test_pseudo.py",
    "pseudo.per_class": "tests/pipeline/test_pseudo.py",
    "pseudo.fill": "tests/pipeline/test_pseudo.py",
    "pseudo.weight": "tests/pipeline/test_pseudo.py",
    "pseudo.only": "tests/pipeline/test_pseudo.py",
    "target.part": "tests/pipeline/test_mask.py",
    "target.part_as": "tests/pipeline/test_mask.py",
    "train.part_thresholds": "tests/pipeline/test_mask.py",
    "train.channels_last": "tests/training/test_calibrate.py",
    "train.compile": "tests/training/test_calibrate.py",
    "train.threads": "tests/training/test_calibrate.py",
    "train.workers": "tests/training/test_feed.py",
    "train.pin_memory": "tests/pipeline/test_options.py",
    "train.checkpoint_gradients": "tests/models/test_network.py",
    "train.devices": "tests/pipeline/test_calibration.py",
    "train.tensorboard": "tests/pipeline/test_curves.py",
    "detect.image_column": "tests/pipeline/test_detect.py",
    "detect.box_columns": "tests/pipeline/test_detect.py",
    "detect.box_format": "tests/pipeline/test_detect.py",
    "detect.model": "tests/pipeline/test_detect.py",
    "detect.weights": "tests/pipeline/test_detect.py",
    "detect.kwargs": "tests/pipeline/test_detect.py",
    "detect.size": "tests/pipeline/test_detect.py",
    "detect.epochs": "tests/pipeline/test_detect.py",
    "detect.batch_size": "tests/pipeline/test_detect.py",
    "detect.lr": "tests/pipeline/test_detect.py",
    "detect.hflip": "tests/pipeline/test_detect.py",
    "detect.zoom": "tests/pipeline/test_detect.py",
    "detect.confidence": "tests/pipeline/test_detect.py",
    "detect.area_min": "tests/pipeline/test_detect.py",
    "detect.keep_table": "tests/pipeline/test_detect.py",
    "predict.vote": "tests/pipeline/test_ensemble.py",
    "predict.unknown": "tests/pipeline/test_individuals.py",
    "split.unknown_share": "tests/pipeline/test_individuals.py",
    "predict.batch_size": "tests/test_inference.py",
    "predict.compile": "tests/test_inference.py",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options")
    write_competition(folder, num_subjects=13, num_test=2)
    table = folder / "train.csv"
    header, *lines = table.read_text("utf-8").splitlines()
    weighted = [f"{line},{1 + place % 3}" for place, line in enumerate(lines)]
    table.write_text("\n".join([f"{header},weight", *weighted]) + "\n", "utf-8")
    (folder / "hook.py").write_text("def darken(x, y, step): return x - 0.5, y\n")
    init(folder)
    names = [line.partition(",")[0] for line in lines] + ["t0", "t1"]
    boxes = [f"{name},4 4 30 30" for name in names]
    (folder / "boxes.csv").write_text("\n".join(["id,box", *boxes]) + "\n", "utf-8")
    return folder


def learned(folder: Path, *changes: str) -> tuple[str, ...]:
    """What a training leaves behind: hashes of its checkpoints and of its predictions."""
    keys = {change.split("=")[0] for change in changes}
    kept = [setting for setting in BASE if setting.split("=")[0] not in keys]
    recipe = resolve_recipe(preset="standard", overrides=[*kept, *changes])
    preprocess(folder, recipe=recipe)
    split(folder, recipe=recipe)
    member = train(folder, recipe=recipe).run.members()[0]
    files = [*member.checkpoints.glob("*.safetensors"), *member.path.glob("predictions/*")]
    return tuple(sorted(f"{path.name} {sha256_file(path)}" for path in files))


def test_every_setting_is_looked_at() -> None:
    assert set(known_settings(Recipe)) ^ {*CHANGES, *ELSEWHERE} == set()
    root = Path(__file__).parents[2]
    assert not [test for test in ELSEWHERE.values() if not (root / test).exists()]


@pytest.mark.parametrize("setting", CHANGES)
def test_switching_a_setting_changes_what_is_learned(setting: str, folder: Path) -> None:
    changes = CHANGES[setting]
    # Without the setting itself, but with what it needs.
    needed = [change for change in changes if change.split("=")[0] != setting]
    needed += [INSTEAD[setting]] if setting in INSTEAD else []
    assert learned(folder, *changes) != learned(folder, *needed)


def test_pinned_memory_without_a_gpu_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"pin_memory = true has no effect here: .* the CPU"):
        learned(folder, "train.pin_memory=true", "train.devices=cpu")


def test_the_same_settings_learn_the_same(folder: Path) -> None:
    from shutil import rmtree

    first = learned(folder, "seed=7")
    runs = folder / ".gorae" / "runs"
    rmtree(runs)
    assert learned(folder, "seed=7") == first


@pytest.mark.parametrize(
    "change",
    [
        ('loss.class_weight_as_max=["고래"]', "loss.class_weight_power=1"),
        ('augment.rare_classes=["고래"]', "augment.half_cutmix=0.5"),
    ],
)
def test_a_class_that_is_not_there_is_refused_before_a_run_is_made(
    change: tuple[str, str], folder: Path
) -> None:
    runs = folder / ".gorae" / "runs"
    before = len(list(runs.glob("*")))
    name = change[0].partition("=")[0]
    with pytest.raises(ConfigError, match=rf"^{name} names 고래; the classes are: 상자, 원\.$"):
        learned(folder, *change)
    assert len(list(runs.glob("*"))) == before
