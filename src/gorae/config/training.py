"""Settings of fine-tuning: augmentation, loss, optimiser, schedule, loop."""

from math import pi
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gorae.config.base import Settings, equals
from gorae.config.preparing import BoxShare

Share = tuple[float, float]
Positive = Annotated[float, Field(gt=0)]


class AugmentSettings(Settings):
    """[augment]: random changes of training pictures. Absent fields are the policy's own."""

    policy: Literal[
        "standard", "base", "random", "tta", "facecrop", "isic2020", "isic2019", "none"
    ] = "standard"
    """A named set of values for the fields below; ``none``: pictures as in evaluation."""
    center_square: bool | None = None
    """Cut the centre square out before anything else."""
    face_crop: float | None = Field(None, ge=0, le=1)
    """Probability of a crop to the face, found from the distribution of pixels."""
    scale: Share | None = None
    """Share of the picture's area that the random crop keeps; (1, 1): the whole picture."""
    ratio: Share | None = None
    """Width divided by height of the random crop."""
    hflip: float | None = Field(None, ge=0, le=1)
    """Probability of a left-right flip; 0 where left and right differ in meaning."""
    vflip: float | None = Field(None, ge=0, le=1)
    """Probability of an upside-down flip."""
    transpose: float | None = Field(None, ge=0, le=1)
    """Probability that rows and columns change places."""
    rand_ops: int | None = Field(None, ge=0, le=16)
    """Operations of RandAugment per picture (Cubuk et al., 2020); 0: none."""
    rand_magnitude: float | None = Field(None, ge=0, le=30)
    """Strength of RandAugment's operations, 0 to 30."""
    transforms: tuple[dict[str, Any], ...] | None = None
    """Transforms of torchvision v2 by name and arguments, in order: ``{name = "ColorJitter",
    brightness = 0.2}``; ``p`` is the probability that one is applied."""
    cutout: float | None = Field(None, ge=0, le=1)
    """Probability that a black square is put on the picture (DeVries and Taylor, 2017)."""
    cutout_side: float | None = Field(None, gt=0, le=1)
    """Side of that square divided by the side of the input."""
    erasing: float | None = Field(None, ge=0, le=1)
    """Probability of random erasing: a box of noise (Zhong et al., 2020)."""
    mixup: float = Field(0.0, ge=0)
    """Alpha of mixup, which blends two pictures and labels (Zhang et al., 2018); 0: off."""
    cutmix: float = Field(0.0, ge=0)
    """Alpha of CutMix, which puts a box of another picture in (Yun et al., 2019); 0: off."""
    half_cutmix: float = Field(0.0, ge=0, le=1)
    """Probability that the left half is replaced by the right half of a picture of
    ``rare_classes``, or of any class where none are named; labels half and half."""
    rare_classes: tuple[str, ...] = ()
    """Classes that mixing partners come from in ``half_cutmix`` and ``cutmix``."""
    mix_share: float = Field(1.0, gt=0, le=1)
    """Share of the batches that mixup and cutmix change; with both, each half of the time."""
    flip_identities: bool = Field(False, exclude_if=equals(False))
    """Learn mirrored pictures as individuals of their own, for 2K outputs: each picture is
    shown both ways in every epoch (earhian/Humpback-Whale-Identification-1st-)."""
    box_mix: tuple[BoxShare, ...] = Field((), exclude_if=equals(()))
    """Other boxes for shares of the training pictures than those of the step ``crop_box``,
    which keeps the rest: ``[{boxes = "other.csv", share = 0.15}, {boxes = "whole", share =
    0.05}]``. Files have the columns that the step names, or those of `gorae detect` where it
    names none; ``whole``: no crop. Evaluation and prediction see the boxes of the step.
    0.6, 0.15, 0.15, 0.05, 0.05 in knshnb/kaggle-happywhale-1st-place."""

    @model_validator(mode="after")
    def _possible_shares(self) -> Self:
        names = [each.boxes for each in self.box_mix]
        total = sum(each.share for each in self.box_mix)
        if len(set(names)) < len(names):
            raise ValueError(
                f"box_mix names {', '.join(names)}: each once, with its whole share"
            )
        # Shares such as 0.7 and 0.3 may add up to a little less than 1.
        if total > 1 - 1e-9:
            raise ValueError(
                f"the shares of box_mix add up to {total:g}: they must stay below 1, and the "
                "rest is that of the boxes of the step crop_box"
            )
        return self


class LossSettings(Settings):
    """[loss]: what fine-tuning makes small."""

    kind: Literal[
        "auto",
        "cross_entropy",
        "focal",
        "bce",
        "asymmetric",
        "soft_f1",
        "mse",
        "smooth_l1",
        "coral",
        "cumulative",
    ] = "auto"
    """``auto``: cross entropy of classes, bce of several labels, mse of numbers."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Probability moved away from the true class (Szegedy et al., 2016)."""
    smoothing_form: Literal["all", "others"] = "all"
    """Where it goes: to all K classes alike, or to the K - 1 others."""
    focal_gamma: float = Field(2.0, ge=0)
    """How much less an easy picture counts in ``focal`` (Lin et al., 2017)."""
    asymmetric_gammas: Share = (0.0, 4.0)
    """Focusing of present and of absent labels in ``asymmetric`` (Ridnik et al., 2021)."""
    asymmetric_clip: float = Field(0.05, ge=0, lt=1)
    """Probability by which absent labels are let off in ``asymmetric``."""
    smooth_l1_beta: float = Field(1.0, gt=0)
    """Where ``smooth_l1`` turns from square to straight, in standard deviations."""
    soft_f1_weights: Share = (1.0, 1.0)
    """Weights of cross entropy and of 1 - soft macro F1 in ``soft_f1``."""
    class_weight_power: float = Field(0.0, ge=0, le=1)
    """k of the class weights ``(N / (K n))^k``; 0: all classes weigh the same."""
    class_weight_cap: float | None = Field(None, gt=0)
    """Largest class weight."""
    class_weight_as_max: tuple[str, ...] = Field((), exclude_if=equals(()))
    """Classes that weigh as much as the heaviest of the others, which are weighed without them:
    of pictures from elsewhere there are as many as one has collected
    (ngessert/isic2019: "unknown")."""
    margin: float | None = Field(None, gt=0, lt=pi)
    """Radians by which the angle to the true class is made larger (ArcFace, Deng et al., 2019);
    0.3 to 0.5 are usual; absent: none."""
    margin_range: Share | None = None
    """Margins between these in place of one, linear in n^(-1/4) of a class of n pictures: the
    commonest has the first, the rarest the second; (0.05, 0.5) in
    ChristofHenkel/kaggle-landmark-2021-1st-place."""
    margin_power: tuple[float, float, float] | None = None
    """Margins ``c n^p + d`` in place of one, as (c, p, d); (0.27126, -0.364399, 0.05) in
    knshnb/kaggle-happywhale-1st-place (dynamic margins: Ha et al., 2020)."""
    part_weights: dict[str, Positive] = Field(default_factory=dict)
    """What the loss of each part of a composed label counts, by its name; absent: 1, as the
    loss of the class."""
    weight_column: str | None = None
    """Column of the train table with the weight of each picture."""

    @model_validator(mode="after")
    def _possible_margins(self) -> Self:
        if self.margin_range is not None:
            least, most = self.margin_range
            if not 0 <= least < most < pi:
                raise ValueError(
                    f"margin_range = [{least:g}, {most:g}] must rise and be radians from 0 to "
                    f"below pi"
                )
        if self.margin_power is not None:
            factor, power, least = self.margin_power
            if factor <= 0 or power >= 0 or least < 0 or factor + least >= pi:
                raise ValueError(
                    f"margin_power = [{factor:g}, {power:g}, {least:g}] must have a factor "
                    "above 0, a power below 0 and a least margin from 0; the first and the "
                    "last together, the margin of a class of one picture, must be below pi"
                )
        return self


class TrainSettings(Settings):
    """[train]: fine-tuning."""

    epochs: int = Field(6, ge=1, le=1000)
    """Passes over the train part."""
    start: str | None = Field(None, exclude_if=equals(None))
    """A run of the same split and network, by its id or its beginning, or by the name of its
    recipe (the newest such run): each fold starts from the best weights of its own fold there,
    the refit from the refit; the head where it is of the same kind and classes."""
    batch_size: int = Field(32, ge=1, le=4096)
    """Pictures per pass through the network, of all processes together."""
    accumulate: int = Field(1, ge=1, le=1024)
    """Passes whose gradients make one step of the optimiser."""
    lr: float = Field(1e-3, gt=0, le=1)
    """Peak learning rate of the head."""
    backbone_lr: float | None = Field(None, gt=0, le=1)
    """Peak learning rate of the backbone; absent: a tenth of ``lr`` with pretrained weights."""
    layer_decay: float | None = Field(None, gt=0, lt=1)
    """Each block of the backbone learns this much slower than the one above it."""
    optimizer: Literal["adamw", "adam", "adamp", "sgd", "momentum"] = "adamw"
    """How gradients become steps."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of the optimiser ``momentum``."""
    weight_decay: float = Field(0.01, ge=0, le=1)
    """Decay of weights, not of biases and norms (Loshchilov and Hutter, 2019)."""
    schedule: Literal[
        "constant", "step", "multi_step", "plateau", "cosine", "cosine_restarts", "one_cycle"
    ] = "cosine"
    """How the learning rates go down, in steps of the whole training."""
    warmup_epochs: float = Field(0.5, ge=0)
    """Length of the linear warm-up before the schedule."""
    decay_epochs: float = Field(2.0, gt=0)
    """Epochs between the decays of ``step``."""
    milestones: tuple[float, ...] = ()
    """Epochs at which ``multi_step`` decays."""
    decay_factor: float = Field(0.1, gt=0, lt=1)
    """What ``step``, ``multi_step`` and ``plateau`` multiply the learning rates by."""
    plateau_patience: int = Field(2, ge=1)
    """Epochs without a better score after which ``plateau`` decays."""
    restart_epochs: float = Field(10.0, gt=0)
    """Length of the first cycle of ``cosine_restarts`` (Loshchilov and Hutter, 2017)."""
    restart_factor: float = Field(1.0, ge=1)
    """How much longer each cycle of ``cosine_restarts`` is than the one before."""
    min_lr_share: float = Field(0.0, ge=0, lt=1)
    """Share of the peak learning rate below which no schedule goes."""
    freeze: Literal["none", "backbone", "encoder"] = "none"
    """``backbone``: only the head learns, on augmented pictures; ``encoder``: all but the
    encoder of ``model.encoder`` learns."""
    unfreeze_every: float | None = Field(None, gt=0)
    """Begin with the head alone and add a block of the backbone each so many epochs, from the
    top (Howard and Ruder, 2018)."""
    clip_norm: float | None = Field(None, gt=0)
    """Longest gradient; a longer one is shortened to it."""
    ema: bool = False
    """Keep and evaluate a moving average of the weights."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Decay of that average per step; absent: so that it spans a tenth of the training."""
    swa_epochs: int = Field(0, ge=0)
    """Average the weights over the last epochs (Izmailov et al., 2018) at ``swa_lr_share``."""
    swa_lr_share: float = Field(0.1, gt=0, le=1)
    """Share of the peak learning rate held while weights are averaged."""
    progressive: tuple[float, ...] = ()
    """Shares of the training size in equal parts of the training, such as (0.6, 0.8, 1)."""
    fixres_epochs: int = Field(0, ge=0)
    """Epochs at the end in which only the head and the last norms learn, at the test size
    without random crops (Touvron et al., 2019)."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many epochs without a better score; absent: train to the end."""
    keep_checkpoints: int = Field(1, ge=1, le=100)
    """Best checkpoints kept per fold, by the competition's metric."""
    shuffle: bool = True
    """A new order in every epoch; off: the order of the train table."""
    sampler: Literal["all", "weighted"] = "all"
    """``all``: each picture once per epoch; ``weighted``: drawn anew, rare classes oftener."""
    sampler_power: float = Field(1.0, gt=0, le=1)
    """k of the weights ``(N / (K n))^k`` of ``weighted``: 1 makes all classes alike often."""
    part_thresholds: dict[str, tuple[float, ...]] = Field(
        default_factory=dict, exclude_if=equals({})
    )
    """Other thresholds for a part of a composed label, ``{age = [30, 58]}``, in the labels that
    are learned; what validates and is scored keeps those of the competition (age_filter of
    iloveslowfood/ImageClassfication: faces of the late 50s look like 60)."""
    drop_last: bool = False
    """Leave out a last batch that is not full."""
    batch_hook: str | None = None
    """``file.py:function`` called with each batch, ``(images, targets, step) -> (images,
    targets)``, after mixing: normalised pixels (B, 3, S, S) and rows of targets."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the network's arithmetic; auto: the fastest measured."""
    channels_last: bool | None = None
    """Memory layout with the channel last; absent: the faster measured."""
    compile: bool | None = None
    """Compile the network (torch.compile); absent: where it was measured to pay."""
    threads: int | None = Field(None, ge=1, le=512)
    """Threads of the network's arithmetic; absent: the fastest measured."""
    workers: int | None = Field(None, ge=0, le=64)
    """Processes that prepare batches; absent: as many as keep the network busy."""
    pin_memory: bool | None = None
    """Batches in page-locked memory; absent: when training on a GPU."""
    checkpoint_gradients: bool = False
    """Compute activations again in the backward pass: less memory, more time."""
    devices: str = "auto"
    """``auto``, ``cpu``, ``cuda:1``, or ``cuda:0,2`` for several GPUs in one training, each
    with a process that ``gorae`` starts by itself."""
    tensorboard: bool = False
    """Write the curves for TensorBoard too (needs the extra ``tensorboard``)."""
