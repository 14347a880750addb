"""Recipes: the settings of one run, each documented under its field."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from gorae.config.autoencoder import AutoencoderSettings
from gorae.config.base import Settings, equals
from gorae.config.detect import DetectSettings
from gorae.config.preparing import PrepareStep, order_problems
from gorae.config.pseudo import PseudoSettings
from gorae.config.tabular import TabularSettings
from gorae.config.target import TargetSettings
from gorae.config.training import AugmentSettings, LossSettings, TrainSettings


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
    near_duplicates: bool = True
    """Keep nearly equal pictures together as well: resized, cropped, mirrored, other light."""
    similarity: float | None = Field(None, gt=0, le=1)
    """From which likeness two pictures are nearly equal; absent: the measured one."""
    seed: int = Field(0, ge=0)
    """Order in which equally good folds are tried."""
    unknown_share: float = Field(0.0, ge=0, lt=1, exclude_if=equals(0.0))
    """Share of the validating pictures whose class nobody of their fold trains on, so that its
    truth there is ``unknown_label`` of [submission]: whole individuals are held out. Best as
    on the test set; 0: none."""


Width = Annotated[int, Field(ge=1, le=8192)]


class ModelSettings(Settings):
    """[model]: backbone, weights and how they are used."""

    name: str = "mobilenetv2_100"
    """A timm name, ``torchvision/NAME``, ``lenet5``, or ``file.py:Class``; ``lightgbm``,
    ``xgboost`` or ``catboost`` (extras to install) for ``use = "tabular"``."""
    weights: str = "hub"
    """``hub`` (download or cache), ``none`` (random), or the path of a weight file."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments for the constructor of the network."""
    use: Literal["frozen", "finetune", "as_is", "tabular"] = "finetune"
    """Backbone as a fixed feature extractor, trained on, or predicting with its own classes;
    ``tabular``: no network, but trees on metadata and on other runs, see [tabular]."""
    class_table: str | None = None
    """For ``as_is``: CSV with columns ``model_class`` and ``class``."""
    head: Literal["linear", "vanilla", "thanet", "cosine"] = "linear"
    """What makes outputs of features when fine-tuning: a linear layer; ``vanilla``: batch norm,
    dropout, ReLU and a linear layer; ``thanet``: attention between the parts of a composed
    label; ``cosine``: cosines to a centre of each class, for margins. Sources: options.md."""
    outputs: Literal["classes", "parts", "both"] = "classes"
    """What the head answers of a composed label (``compose`` in competition.toml): the class;
    each part, whose probabilities are multiplied; or both, where the class decides and the
    parts help to learn (iloveslowfood/ImageClassfication). Predictions are of the classes."""
    features: Literal["pooled", "logits"] = "pooled"
    """What the head is put on: pooled features, or the logits of the classifier the weights
    were made with, as in iloveslowfood/ImageClassfication."""
    neck: Literal["none", "linear_bn_prelu", "bn_linear_bn"] = "linear_bn_prelu"
    """How ``cosine`` makes an embedding of the features; ``none``: they are it."""
    embedding: int = Field(512, ge=2, le=8192)
    """Numbers of an embedding of ``cosine``."""
    centres: int = Field(1, ge=1, le=16)
    """Centres of each class in ``cosine``, of which the nearest counts (sub-centre ArcFace,
    Deng et al., 2020)."""
    scale: float = Field(30.0, gt=0, le=1000)
    """What ``cosine`` multiplies cosines by to have logits (s of Deng et al., 2019)."""
    drop_rate: float = Field(0.0, ge=0, lt=1)
    """Dropout before the head when fine-tuning, or within it; ``vanilla`` and ``thanet`` had
    0.5 at their source."""
    drop_copies: int = Field(1, ge=1, le=64)
    """Dropouts whose outputs share one head and are averaged (multi-sample dropout)."""
    drop_path: float = Field(0.0, ge=0, lt=1)
    """Stochastic depth: residual branches left out by chance (Huang et al., 2016)."""
    pooling: Literal["default", "gem"] = "default"
    """How maps become features: as the network does, or generalised mean with a learned power
    (Radenovic et al., 2019)."""
    pool_stages: int = Field(1, ge=1, le=8, exclude_if=equals(1))
    """Last stages of the network whose maps are pooled, each by itself, and joined; what comes
    after the last is left out; 1: the network's own end (2: knshnb/kaggle-happywhale)."""
    metadata: Literal["none", "isic2019", "isic2020"] = Field("none", exclude_if=equals("none"))
    """A small network on metadata whose result is joined to the picture's features when
    fine-tuning, in the form of a winner of ISIC 2019 or 2020; sources: options.md."""
    metadata_columns: tuple[str, ...] | None = Field(None, exclude_if=equals(None))
    """Columns for it; absent: all that both tables have but ids, texts and groups.
    ``images_of_group`` (logarithm of 1 + pictures of the patient) and ``file_bytes`` (of the
    size of the picture's file) can be named beside columns, and are not taken unnamed."""
    metadata_widths: tuple[Width, ...] = Field((), exclude_if=equals(()))
    """Outputs of its layers; absent: (256, 256) of isic2019, (512, 128) of isic2020, whose
    smaller variant has (128, 32)."""
    encoder: str | None = Field(None, exclude_if=equals(None))
    """An encoder that stands before the network, which then sees its map, a fourth as large:
    the name of an autoencoder in ``.gorae/autoencoders`` (see `gorae autoencoder`), the path
    of its ``encoder.safetensors``, or ``newest``."""
    layer: str | None = None
    """Take the features at this layer (see `gorae model`), averaged over places, instead of at
    the network's end; for ``use = "frozen"``."""


class PixelSettings(Settings):
    """[pixels]: what the network is shown. Absent fields come from the weights or timm."""

    input_size: int | None = Field(None, ge=16, le=4096)
    """Height and width of the network's input in pixels, in evaluation and prediction."""
    train_size: int | None = Field(None, ge=16, le=4096)
    """Height and width in training; absent: ``input_size``."""
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


class PredictSettings(Settings):
    """[predict]: how probabilities are made and voted on."""

    views: tuple[str, ...] = ("identity",)
    """Deterministic transforms whose predictions are voted on: names, or families such as
    ``dihedral8``."""
    use_checkpoints: int = Field(1, ge=1, le=100)
    """Best checkpoints used per fold, at most those kept."""
    vote: Literal["arithmetic", "weighted", "geometric", "logit", "rank", "hard", "subtask"] = (
        "arithmetic"
    )
    """How folds, checkpoints and views are joined."""
    batch_size: int | None = Field(None, ge=1, le=4096)
    """Pictures per forward pass; absent: 8 on a CPU, whose caches they fit, 64 on a GPU."""
    compile: bool | None = None
    """Compile the network with its weights frozen in; absent: where it was measured to pay."""
    precision: Literal["as_trained", "int8"] = Field(
        "as_trained", exclude_if=equals("as_trained")
    )
    """Number format of convolutions. ``int8``, for networks with ReLUs on a CPU: ResNets
    are 1.7 to 1.9 times as fast as in bfloat16, and rounded to bytes, on out-of-fold pictures
    and new ones alike."""
    retrieval_share: float = Field(0.0, ge=0, le=1, exclude_if=equals(0.0))
    """Weight of the largest cosine to the training pictures of each class against what the
    head says (its cosines, or probabilities); 1: neighbours alone. The winner of Happywhale
    took 0.5 (knshnb/kaggle-happywhale-1st-place)."""
    retrieval_neighbours: int = Field(500, ge=1, exclude_if=equals(500))
    """Nearest training pictures that are looked at; a class with none among them scores -1."""
    unknown: Literal["none", "validation"] | Annotated[float, Field(gt=0, lt=1)] = Field(
        "none", exclude_if=equals("none")
    )
    """Score of the unknown label among the guesses: ``validation``: the best for MAP@k on
    out-of-fold pictures (of the other folds, where these are scored); a share: what makes it
    the first guess of so many pictures; ``none``: ``unknown_score`` of [submission]."""


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
    target: TargetSettings = Field(TargetSettings(), exclude_if=equals(TargetSettings()))
    """What is learned, where it is not the label."""
    preprocess: tuple[PrepareStep, ...] = ()
    """Steps from each decoded picture to the stored one, in order: a list of tables."""
    pixels: PixelSettings = PixelSettings()
    """Input of the network."""
    head: HeadSettings = HeadSettings()
    """Head on frozen features."""
    augment: AugmentSettings = AugmentSettings()
    """Augmentation."""
    loss: LossSettings = LossSettings()
    """Loss."""
    train: TrainSettings = TrainSettings()
    """Fine-tuning."""
    pseudo: PseudoSettings = Field(PseudoSettings(), exclude_if=equals(PseudoSettings()))
    """Pictures that earlier runs labelled."""
    predict: PredictSettings = PredictSettings()
    """Prediction."""
    tabular: TabularSettings = TabularSettings()
    """Trees on tables."""
    detect: DetectSettings = Field(DetectSettings(), exclude_if=equals(DetectSettings()))
    """Boxes found by a detector."""
    autoencoder: AutoencoderSettings = Field(
        AutoencoderSettings(), exclude_if=equals(AutoencoderSettings())
    )
    """What makes an encoder."""
    refit: bool = False
    """Train once more on everything at the end; that model joins the vote on the test set."""

    @field_validator("preprocess")
    @classmethod
    def _in_order(cls, steps: tuple[PrepareStep, ...]) -> tuple[PrepareStep, ...]:
        if problems := order_problems(steps):
            raise ValueError("; ".join(problems))
        return steps
