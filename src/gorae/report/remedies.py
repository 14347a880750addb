"""What to try after a diagnosis: settings of this recipe that are not on already."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gorae.data.sources import Task
from gorae.report.numbers import Count
from gorae.report.page import Fit, Remedy
from gorae.report.texts import Text
from gorae.training.outputs import LOSS_KINDS, resolve_loss

MAX_REMEDIES = 5
# Epochs of a first try with a network that is trained; what the settings start with.
FEWEST_EPOCHS = 6


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What decides, beside the recipe, which settings fit."""

    task: Task
    epochs: int | None = None
    """Epochs that were trained; None for a head on frozen features."""
    best_epoch: float | None = None
    """Epoch of the weights that are used, mean over the folds."""
    input_size: int | None = None
    """Side of the network's input in pixels."""
    short_side_px: float | None = None
    """Median short side of the pictures."""


Recipe = Mapping[str, Any]
Found = Iterator[Remedy]


def remedies(fit: Fit, recipe: Recipe, *, facts: Facts) -> tuple[Remedy, ...]:
    """Settings to try, the most promising first; none that the recipe has already.

    Args:
        fit: The verdict.
        recipe: The settings as in run.toml: sections of names and values.
        facts: What else decides.
    """
    use = recipe["model"]["use"]
    sources = (_FROZEN if use == "frozen" else _FINETUNED).get(fit, ())
    found: dict[str, Remedy] = {}
    for remedy in (remedy for source in sources for remedy in source(recipe, facts)):
        found.setdefault(remedy.setting, remedy)
    return tuple(found.values())[:MAX_REMEDIES]


def _remedy(setting: str, en: str, ko: str) -> Remedy:
    return Remedy(setting=setting, why=Text(en, ko))


def _value(recipe: Recipe, name: str) -> Any:
    """A setting by its dotted name; None where it is absent."""
    section, _, field = name.partition(".")
    return recipe.get(section, {}).get(field)


def _is_own_network(recipe: Recipe) -> bool:
    """Whether there are no pretrained weights to be had."""
    name = str(recipe["model"]["name"])
    return name == "lenet5" or ".py:" in name


def _network(recipe: Recipe, name: str) -> str:
    """Another network, with the weights that belong to it."""
    has_hub = recipe["model"]["weights"] == "hub"
    return f'model.name = "{name}"' + ("" if has_hub else ', model.weights = "hub"')


# What works against learning by heart.


def _pretrained(recipe: Recipe, facts: Facts) -> Found:
    if recipe["model"]["weights"] != "none":
        return
    if _is_own_network(recipe):
        yield _remedy(
            _network(recipe, "efficientnet_b0"),
            "start from pretrained weights, which this network does not have",
            "이 모델에는 없는 사전학습 가중치에서 시작합니다",
        )
    else:
        yield _remedy(
            'model.weights = "hub"',
            "start from pretrained weights: random ones must learn all from these pictures",
            "사전학습 가중치에서 시작합니다. 무작위 가중치는 이 사진만으로 배워야 합니다",
        )


def _shorter(recipe: Recipe, facts: Facts) -> Found:
    if facts.epochs is None or facts.best_epoch is None:
        return
    if facts.best_epoch <= 0.6 * facts.epochs and _value(recipe, "train.patience") is None:
        epochs = max(1, round(1.2 * facts.best_epoch))
        yield _remedy(
            f"train.epochs = {epochs}",
            f"the best weights came at epoch {facts.best_epoch:.0f} of {facts.epochs}; a "
            "schedule that ends there lets them settle",
            f"최고 점수는 {facts.epochs} 에폭 중 {facts.best_epoch:.0f} 에폭에서 나왔습니다. "
            "그쯤에서 끝나는 스케줄이 낫습니다",
        )


def _more_augmentation(recipe: Recipe, facts: Facts) -> Found:
    policy = _value(recipe, "augment.policy")
    if policy == "none" and not _value(recipe, "augment.transforms"):
        yield _remedy(
            'augment.policy = "standard"',
            "random crops and flips: no picture is seen twice alike (hflip = 0 where left and "
            "right differ in meaning)",
            "무작위 자르기와 뒤집기로 같은 사진을 두 번 똑같이 보지 않습니다"
            "(좌우의 뜻이 다르면 hflip = 0)",
        )
    elif policy in ("standard", "base") and not _value(recipe, "augment.rand_ops"):
        yield _remedy(
            "augment.rand_ops = 2",
            "RandAugment: two more random changes of each picture",
            "RandAugment로 사진마다 무작위 변형을 두 가지 더합니다",
        )


def _mixing(recipe: Recipe, facts: Facts) -> Found:
    if any(_value(recipe, f"augment.{name}") for name in ("mixup", "cutmix", "half_cutmix")):
        return
    yield _remedy(
        "augment.mixup = 0.2",
        "blends two pictures and their labels, so that none can be learned by heart",
        "두 사진과 정답을 섞어, 외울 수 없게 합니다",
    )


def _smoothing(recipe: Recipe, facts: Facts) -> Found:
    kind = resolve_loss(_value(recipe, "loss.kind") or "auto", facts.task)
    is_on = bool(_value(recipe, "loss.label_smoothing"))
    if "label_smoothing" in LOSS_KINDS[kind].uses and not is_on:
        yield _remedy(
            "loss.label_smoothing = 0.1",
            "no answer has to be surer than 90%, so training stops pushing known pictures",
            "확신을 90%까지만 요구해, 이미 아는 사진에 매달리지 않습니다",
        )


def _dropout(recipe: Recipe, facts: Facts) -> Found:
    if not _value(recipe, "model.drop_rate"):
        yield _remedy(
            "model.drop_rate = 0.3",
            "dropout before the head",
            "분류기 앞에 드롭아웃을 둡니다",
        )


def _freezing(recipe: Recipe, facts: Facts) -> Found:
    is_pretrained = recipe["model"]["weights"] != "none" or "start" in recipe["train"]
    if is_pretrained and _value(recipe, "train.freeze") == "none":
        yield _remedy(
            'train.freeze = "backbone"',
            "only the head learns, with far fewer weights to learn pictures by heart with",
            "분류기만 학습해, 외우는 데 쓸 가중치가 훨씬 적어집니다",
        )


# What works against learning too little.


def _longer(recipe: Recipe, facts: Facts) -> Found:
    if facts.epochs is None:
        return
    epochs = max(2 * facts.epochs, FEWEST_EPOCHS)
    yield _remedy(
        f"train.epochs = {epochs}",
        f"after {Count(facts.epochs):epoch|epochs} it had not finished learning",
        f"{facts.epochs} 에폭으로는 학습이 끝나지 않았습니다",
    )


def _unfrozen(recipe: Recipe, facts: Facts) -> Found:
    if _value(recipe, "train.freeze") == "backbone":
        yield _remedy(
            'train.freeze = "none"', "lets the backbone learn too", "백본도 함께 학습합니다"
        )


def _rate(recipe: Recipe, facts: Facts) -> Found:
    lr = _value(recipe, "train.lr")
    yield _remedy(
        f"train.lr = {min(3 * lr, 1.0):.2g}",
        f"steps of {lr:g} may be too small; look at the curves whether it helps",
        f"{lr:g}는 너무 작은 걸음일 수 있습니다. 곡선으로 확인하세요",
    )


def _less_noise(recipe: Recipe, facts: Facts) -> Found:
    limits = {"augment.mixup": 0.0, "augment.cutmix": 0.0, "model.drop_rate": 0.3}
    for name, most in limits.items():
        value = _value(recipe, name)
        if value and value > most:
            yield _remedy(
                f"{name} = {most:g}",
                f"at {value:g} it makes the pictures harder to learn",
                f"{value:g}에서는 학습이 더 어려워집니다",
            )
    if _value(recipe, "augment.policy") in ("isic2020", "isic2019", "random", "tta"):
        yield _remedy(
            'augment.policy = "standard"',
            "weaker random changes are learned sooner",
            "약한 변형은 더 빨리 배웁니다",
        )


def _larger_pictures(recipe: Recipe, facts: Facts) -> Found:
    size, side = facts.input_size, facts.short_side_px
    if size is None or side is None or side < 1.25 * size:
        return
    # Most networks halve their maps five times: a size should be divisible by 32.
    wanted = int(min(1.5 * size, side) // 32 * 32)
    if wanted > size:
        yield _remedy(
            f"pixels.input_size = {wanted}",
            f"the pictures have a short side of {side:.0f} pixels, the network sees {size}",
            f"사진의 짧은 변은 {side:.0f}픽셀인데 모델은 {size}픽셀로 봅니다",
        )


def _larger_network(recipe: Recipe, facts: Facts) -> Found:
    larger = {"lenet5": "efficientnet_b0", "efficientnet_b0": "convnext_tiny"}
    name = str(recipe["model"]["name"])
    wanted = larger.get(name, "efficientnet_b0" if "mobilenet" in name else None)
    if wanted is None:
        return
    yield _remedy(
        _network(recipe, wanted),
        f"a larger network than {name}",
        f"{name}보다 큰 모델입니다",
    )


# What makes folds alike.


def _steadier(recipe: Recipe, facts: Facts) -> Found:
    if recipe["model"]["use"] == "finetune":
        if _value(recipe, "train.clip_norm") is None:
            yield _remedy(
                "train.clip_norm = 1.0",
                "no single batch can throw the weights off",
                "배치 하나가 가중치를 크게 흔들지 못하게 합니다",
            )
        if not _value(recipe, "train.ema") and not _value(recipe, "train.swa_epochs"):
            yield _remedy(
                "train.ema = true",
                "averages the weights over many steps",
                "여러 단계의 가중치를 평균합니다",
            )
        lr = _value(recipe, "train.lr")
        yield _remedy(
            f"train.lr = {lr / 3:.2g}",
            "smaller steps diverge less",
            "작은 걸음은 덜 흔들립니다",
        )


def _repeats(recipe: Recipe, facts: Facts) -> Found:
    is_folded = _value(recipe, "split.kind") != "holdout"
    if is_folded and _value(recipe, "split.repeats") == 1:
        yield _remedy(
            "split.repeats = 2",
            "draws the folds anew: tells whether the pictures of a fold or the training differ",
            "폴드를 다시 나눠, 폴드의 사진이 다른지 학습이 흔들리는지 알 수 있습니다",
        )


# What may still help where nothing is wrong.


def _few_epochs(recipe: Recipe, facts: Facts) -> Found:
    if facts.epochs is not None and facts.epochs < FEWEST_EPOCHS:
        yield _remedy(
            f"train.epochs = {FEWEST_EPOCHS}",
            f"{Count(facts.epochs):epoch is|epochs are} few: there may be more to learn",
            f"{facts.epochs} 에폭은 짧습니다. 더 배울 것이 남았을 수 있습니다",
        )


def _flipped_view(recipe: Recipe, facts: Facts) -> Found:
    # Where left and right differ in meaning, the recipe says so in its augmentation.
    if list(_value(recipe, "predict.views") or ()) == ["identity"] and (
        _value(recipe, "augment.hflip") != 0
    ):
        yield _remedy(
            'predict.views = ["identity", "hflip"]',
            "asks twice and joins the answers, unless left and right differ in meaning",
            "좌우의 뜻이 같다면, 뒤집은 사진으로 한 번 더 물어 답을 합칩니다",
        )


# A head on frozen features.


def _finetuned(recipe: Recipe, facts: Facts) -> Found:
    yield _remedy(
        'model.use = "finetune"',
        "lets the backbone learn from these pictures too; compare on the same folds",
        "백본도 이 사진으로 학습합니다. 같은 폴드에서 비교하세요",
    )


def _freer_head(recipe: Recipe, facts: Facts) -> Found:
    weakest = max(_value(recipe, "head.strengths"))
    yield _remedy(
        f"head.strengths = [{weakest:g}, {10 * weakest:g}, {100 * weakest:g}]",
        "the weakest regularisation tried was the best: go on in that direction",
        "시도한 것 중 가장 약한 규제가 가장 좋았습니다. 그 방향으로 더 시도합니다",
    )
    if _value(recipe, "head.kind") == "linear":
        yield _remedy(
            'head.kind = "mlp"',
            "a hidden layer can say more than a linear head",
            "은닉층은 선형 분류기보다 많은 것을 표현합니다",
        )


def _stricter_head(recipe: Recipe, facts: Facts) -> Found:
    strongest = min(_value(recipe, "head.strengths"))
    yield _remedy(
        f"head.strengths = [{strongest / 100:g}, {strongest / 10:g}, {strongest:g}]",
        "the strongest regularisation tried was the best: go on in that direction",
        "시도한 것 중 가장 강한 규제가 가장 좋았습니다. 그 방향으로 더 시도합니다",
    )
    if _value(recipe, "head.kind") == "mlp":
        yield _remedy(
            'head.kind = "linear"',
            "fewer weights to learn by heart with",
            "외우는 데 쓸 가중치가 줄어듭니다",
        )


_Source = Callable[[Recipe, Facts], Found]

_FINETUNED: dict[Fit, tuple[_Source, ...]] = {
    "overfits": (
        _pretrained,
        _more_augmentation,
        _mixing,
        _smoothing,
        _shorter,
        _dropout,
        _freezing,
    ),
    "underfits": (
        _longer,
        _unfrozen,
        _pretrained,
        _rate,
        _less_noise,
        _larger_pictures,
        _larger_network,
    ),
    "learning": (_longer, _rate, _less_noise),
    "unstable": (_steadier, _repeats),
    "balanced": (_few_epochs, _larger_pictures, _larger_network, _flipped_view),
}

_FROZEN: dict[Fit, tuple[_Source, ...]] = {
    "overfits": (_stricter_head,),
    "underfits": (_freer_head, _finetuned, _larger_pictures),
    "unstable": (_repeats,),
    "balanced": (_larger_pictures, _larger_network, _flipped_view, _finetuned),
}
