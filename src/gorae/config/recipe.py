"""Recipes: the settings of one run, each documented under its field."""

from typing import Any, Literal

from pydantic import Field

from gorae.config.base import Settings


class SplitSettings(Settings):
    """[split]: how out-of-fold parts are made."""

    kind: Literal["auto", "kfold", "holdout"] = "auto"
    """K folds, one hold-out part, or auto: folds or validation set as given, else K folds."""
    num_folds: int = Field(5, ge=2, le=100)
    """Number of folds."""
    repeats: int = Field(1, ge=1, le=20)
    """How often the folds are drawn anew with another seed."""
    holdout_share: float = Field(0.2, gt=0, lt=1)
    """Share of the rows that validate when ``kind`` is holdout."""
    stratify: bool = True
    """Keep the class shares of the folds even."""
    stratify_columns: tuple[str, ...] = ()
    """Further columns of the train table whose shares are kept even."""
    group: bool = True
    """Keep groups together: subject columns and equal pictures. Off only to show what leaks."""
    seed: int = Field(0, ge=0)
    """Order in which equally good folds are tried."""


class ModelSettings(Settings):
    """[model]: backbone, weights and how they are used."""

    name: str = "mobilenetv2_100"
    """A timm name, ``torchvision/NAME``, ``lenet5``, or ``file.py:Class``."""
    weights: str = "hub"
    """``hub`` (download or cache), ``none`` (random), or the path of a weight file."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments for the constructor of the network."""
    use: Literal["frozen", "finetune", "as_is"] = "finetune"
    """Backbone as a fixed feature extractor, trained on, or predicting with its own classes."""
    class_table: str | None = None
    """For ``as_is``: CSV with columns ``model_class`` and ``class``."""
    drop_rate: float = Field(0.0, ge=0, lt=1)
    """Dropout before the head when fine-tuning."""


class PixelSettings(Settings):
    """[pixels]: what the network is shown. Absent fields come from the weights or timm."""

    input_size: int | None = Field(None, ge=16, le=4096)
    """Height and width of the network's input in pixels."""
    mean: tuple[float, float, float] | None = None
    """Mean of each channel, of values from 0 to 1."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of each channel, of values from 0 to 1."""
    interpolation: Literal["bilinear", "bicubic"] | None = None
    """How pictures are resized."""
    crop_pct: float | None = Field(None, gt=0, le=1)
    """Side of the centre crop divided by the short side it is cut from."""
    stored_short_side: int | None = Field(None, ge=16, le=8192)
    """Short side in the prepared store; absent: 1.15 times the input size."""


class HeadSettings(Settings):
    """[head]: the classifier solved on frozen features."""

    kind: Literal["linear", "mlp"] = "linear"
    """Softmax (or logistic, or ridge) regression, or a network with one hidden layer."""
    strengths: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0)
    """Inverse regularisation strengths tried inside the train part of each fold."""
    hidden: int = Field(256, ge=4, le=4096)
    """Width of the hidden layer of the ``mlp``."""


class AugmentSettings(Settings):
    """[augment]: random changes of training pictures."""

    policy: Literal["base", "none"] = "base"
    """``base``: random resized crop and horizontal flip; ``none``: as in evaluation."""
    scale: tuple[float, float] = (0.35, 1.0)
    """Share of the picture's area that the random crop keeps."""
    ratio: tuple[float, float] = (0.75, 1.3333333333333333)
    """Width divided by height of the random crop."""
    hflip: float = Field(0.5, ge=0, le=1)
    """Probability of a left-right flip; 0 where left and right differ in meaning."""


class TrainSettings(Settings):
    """[train]: fine-tuning."""

    epochs: int = Field(6, ge=1, le=1000)
    """Passes over the train part."""
    batch_size: int = Field(32, ge=1, le=4096)
    """Pictures per optimiser step."""
    lr: float = Field(1e-3, gt=0, le=1)
    """Peak learning rate of the head."""
    backbone_lr: float | None = Field(None, gt=0, le=1)
    """Peak learning rate of the backbone; absent: a tenth of ``lr`` with pretrained weights."""
    weight_decay: float = Field(0.01, ge=0, le=1)
    """Decoupled decay of AdamW, not of biases and norms (Loshchilov and Hutter, 2019)."""
    warmup_epochs: float = Field(0.5, ge=0)
    """Length of the linear warm-up before the cosine decay."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many epochs without a better score; absent: train to the end."""
    keep_checkpoints: int = Field(1, ge=1, le=100)
    """Best checkpoints kept per fold, by the competition's metric."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the network's arithmetic; auto measures both and keeps the faster."""
    channels_last: bool = True
    """Memory layout with the channel last, faster for most convolutions."""
    workers: int = Field(1, ge=0, le=64)
    """Processes that prepare batches."""
    threads: int | None = Field(None, ge=1, le=512)
    """Threads of the network's arithmetic; absent: torch's default on this machine."""
    device: str = "auto"
    """``auto``, ``cpu`` or ``cuda:N``."""


class PredictSettings(Settings):
    """[predict]: how probabilities are made."""

    views: tuple[Literal["identity", "hflip"], ...] = ("identity",)
    """Deterministic transforms whose predictions are averaged."""
    use_checkpoints: int = Field(1, ge=1, le=100)
    """Best checkpoints used per fold, at most those kept."""
    batch_size: int | None = Field(None, ge=1, le=4096)
    """Pictures per forward pass; absent: 8 on a CPU, whose caches they fit, 64 on a GPU."""


class Recipe(Settings):
    """A recipe: the settings of one run."""

    name: str = Field("recipe", pattern=r"^[\w.-]+$")
    """Short name that becomes part of the run's id."""
    seed: int = Field(0, ge=0)
    """Seed of initial weights, order and augmentation."""
    split: SplitSettings = SplitSettings()
    """Folds."""
    model: ModelSettings = ModelSettings()
    """Network."""
    pixels: PixelSettings = PixelSettings()
    """Input of the network."""
    head: HeadSettings = HeadSettings()
    """Head on frozen features."""
    augment: AugmentSettings = AugmentSettings()
    """Augmentation."""
    train: TrainSettings = TrainSettings()
    """Fine-tuning."""
    predict: PredictSettings = PredictSettings()
    """Prediction."""
    refit: bool = False
    """Train once more on everything at the end; that model joins the vote on the test set."""
