"""Several processes train as one does: the same losses, weights, decisions and ends."""

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor, nn

from gorae.data.dataset import Sampling
from gorae.errors import ConfigError, DataError, ResourceError, UserError
from gorae.files import sha256_file
from gorae.models.build import build_model
from gorae.models.network import ImageModel
from gorae.training.checkpoint import read_tensors
from gorae.training.fit import FoldResult, fit_fold
from gorae.training.group import SOLO, Group, call_others, hear_call, joined, open_store
from gorae.training.optim import OptimPlan
from gorae.training.plan import Control, FitPlan, FoldData, Interrupted, Scorer
from gorae.training.schedules import Course, SchedulePlan

Fold = Callable[..., FoldData]

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

PLAN = FitPlan(
    course=Course(SchedulePlan(warmup_epochs=0.5), epochs=3),
    batch_size=8,
    optim=OptimPlan(lr=0.01, backbone_lr=0.01),
    keep_checkpoints=3,
    identity={"model": "tiny"},
)


class PlainNet(nn.Module):
    """Convolutions without batch normalisation, and a weight that no output depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.GELU(), nn.Conv2d(8, 8, 1), nn.AdaptiveAvgPool2d(2)
        )
        self.head = nn.Linear(32, 2)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.backbone(images).flatten(1))
        return outputs


def plain_net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return PlainNet()


def resnet() -> ImageModel:
    return build_model("test_resnet", num_outputs=2, kwargs={}, seed=0, folder=Path())


def begin(rank: int, size: int, port: int, work: Callable[[Group], Any], pipe: Any) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    try:
        store = open_store()
        number = 1 if rank else call_others(store, {})
        assert hear_call(store, number) == {}
        with joined(store, number, uses_gpu=False) as group:
            found = work(group)
    except Exception as error:  # noqa: BLE001 - told to the test
        found = error
    pipe.send(found)


class Started:
    """Processes that do ``work`` together."""

    def __init__(self, work: Callable[[Group], Any], size: int = 2) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # Forked: a fresh interpreter would take seconds to import torch, each time.
        context = multiprocessing.get_context("fork")
        pipes = [context.Pipe(duplex=False) for _ in range(size)]
        self.receivers: list[Connection] = [receiver for receiver, _ in pipes]
        self.processes = [
            context.Process(target=begin, args=(rank, size, port, work, sender))
            for rank, (_, sender) in enumerate(pipes)
        ]
        for process in self.processes:
            process.start()

    def results(self) -> list[Any]:
        """What each gave or raised, by rank."""
        found = []
        for receiver, process in zip(self.receivers, self.processes, strict=True):
            assert receiver.poll(25), f"silent: {process}"
            found.append(receiver.recv())
            process.join(10)
        return found


def together(work: Callable[[Group], Any], size: int = 2) -> list[Any]:
    """What ``size`` processes give that do ``work`` as a group, by rank; none may fail."""
    found = Started(work, size).results()
    for each in found:
        if isinstance(each, Exception):
            raise each
    return found


def exchange(group: Group) -> Any:
    mine = torch.arange(group.rank, 7, group.size)
    values = torch.stack([mine * 0.1, torch.where(mine == 3, torch.nan, mine)], dim=1)
    model = nn.Linear(1, 1)
    torch.nn.init.constant_(model.bias, group.rank + 5)
    group.share(model)
    return (
        group.sum(group.rank + 1),
        group.any(group.rank == group.size - 1),
        group.any(False),
        group.rows(values.float(), mine, total=7).numpy(),
        group.texts([f"그룹 {group.rank}"] * group.rank),
        float(model.bias.detach()),
    )


@pytest.mark.parametrize("size", [1, 2, 3])
def test_what_processes_tell_each_other(size: int) -> None:
    expected = np.array([[i * 0.1, np.nan if i == 3 else i] for i in range(7)], np.float32)
    for found in together(exchange, size):
        total, is_any, is_none, rows, texts, bias = found
        assert total == sum(range(1, size + 1))
        assert is_any
        assert not is_none
        np.testing.assert_array_equal(rows, expected)
        assert texts == [f"그룹 {rank}" for rank in range(size) for _ in range(rank)]
        assert bias == 5


def test_a_process_may_be_without_rows() -> None:
    def work(group: Group) -> Any:
        values = torch.ones(1, 2) if group.is_first else torch.zeros(0)
        index = torch.arange(1 if group.is_first else 0)
        return group.rows(values, index, total=1).numpy()

    assert [rows.tolist() for rows in together(work)] == [[[1, 1]]] * 2


@pytest.mark.parametrize("index", [[0, 0], [0, 2]])
def test_lost_and_doubled_rows_are_seen(index: list[int]) -> None:
    with pytest.raises(AssertionError, match="lost or doubled"):
        SOLO.rows(torch.zeros(2, 1), torch.tensor(index), total=3 if 2 in index else 2)


def keeps_weights(folder: Path, result: FoldResult) -> dict[str, Any]:
    """The last epoch's weights and the whole history."""
    last = max(result.checkpoints, key=lambda checkpoint: checkpoint.epoch)
    tensors, _ = read_tensors(folder / "checkpoints", last.name)
    weights = {name: value.double().numpy() for name, value in tensors.items()}
    numbers = result.history[["lr", "train_loss", "valid_loss", "score"]].to_numpy(float)
    return {"history": numbers, **weights}


def fit(
    group: Group,
    *,
    folder: Path,
    data: FoldData,
    plan: FitPlan,
    build: Callable[[], nn.Module] = plain_net,
    **control: Any,
) -> FoldResult:
    return fit_fold(
        build(),
        data,
        plan=plan,
        folder=folder,
        control=Control(workers=0, group=group, **control),
    )


WEIGHTED = Sampling(weights=np.linspace(1, 3, 26))

CASES: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], Sampling | None]] = {
    "plain": (plain_net, {}, None),
    # 26 images in batches of 8: the last has 2, one for each process.
    "weighted": (plain_net, {"accumulate": 2, "clip_norm": 0.5}, WEIGHTED),
    "moving average": (plain_net, {"ema_decay": 0.8}, None),
    "frozen": (resnet, {"is_frozen": True}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one_does(case: str, tmp_path: Path, fold: Fold) -> None:
    build, changes, sampling = CASES[case]
    data = fold()
    if sampling is not None:
        counts = np.linspace(0.5, 2, len(data.train))
        data = replace(data, sampling=sampling, train_weights=counts)
    plan = replace(PLAN, **changes)
    work = partial(fit, data=data, plan=plan, build=build)
    alone = keeps_weights(tmp_path / "1", work(SOLO, folder=tmp_path / "1"))
    for result in together(partial(work, folder=tmp_path / "2")):
        found = keeps_weights(tmp_path / "2", result)
        assert found.keys() == alone.keys()
        for name, value in found.items():
            np.testing.assert_allclose(value, alone[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_many_epochs_leave_nothing_behind(tmp_path: Path, fold: Fold) -> None:
    """Each epoch wraps the network anew; a hook left on a weight would call it for ever."""

    def work(group: Group) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        own = psutil.Process()
        course = Course(SchedulePlan(), epochs=30)
        fit(
            group,
            folder=tmp_path,
            data=fold(num_train=8, num_valid=4),
            plan=replace(PLAN, course=course, keep_checkpoints=1),
            on_epoch=lambda row: seen.append((own.memory_info().rss, own.num_fds())),
        )
        return seen

    for seen in together(work):
        (early, early_files), (late, late_files) = seen[9], seen[-1]
        assert late - early < 3_000_000
        assert late_files <= early_files


def test_statistics_kept_are_those_evaluated(
    tmp_path: Path, fold: Fold, tiny_net: Callable[[], nn.Module]
) -> None:
    """Each process counts statistics of its own images; the first's are evaluated and kept."""
    data = fold()
    losses = [
        result.history["valid_loss"].tolist()
        for result in together(
            partial(fit, folder=tmp_path, data=data, plan=PLAN, build=tiny_net)
        )
    ]
    assert losses[0] == losses[1]
    # Trained on, from the weights kept, with a rate of nothing: the loss is the same.
    for epoch, loss in enumerate(losses[0], 1):
        model = tiny_net()
        tensors, _ = read_tensors(tmp_path / "checkpoints", f"epoch-{epoch:04d}")
        model.load_state_dict(tensors)
        model.eval()
        assert data.valid is not None
        assert data.valid_truth is not None
        pixels = torch.stack([data.valid[i][0] for i in range(len(data.valid))])
        pixels = (pixels / 255 - 0.5) / 0.25
        with torch.inference_mode():
            found = nn.functional.cross_entropy(
                model(pixels), torch.from_numpy(data.valid_truth)
            )
        assert float(found) == pytest.approx(loss, abs=1e-5)


def files_of(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in (folder / "checkpoints").iterdir()}


def test_one_that_is_asked_to_stop_stops_all_and_they_go_on(
    tmp_path: Path, fold: Fold, tiny_net: Callable[[], nn.Module]
) -> None:
    def stop(group: Group) -> str:
        asked = iter(range(100))

        def should_stop() -> bool:
            return group.rank == 1 and next(asked) == 5

        with pytest.raises(Interrupted):
            work(group, folder=tmp_path / "stopped", should_stop=should_stop)
        return "stopped"

    work = partial(fit, data=fold(), plan=PLAN, build=tiny_net)
    together(partial(work, folder=tmp_path / "whole"))
    assert together(stop) == ["stopped", "stopped"]
    together(partial(work, folder=tmp_path / "stopped"))
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")


def test_one_that_is_late_ends_the_training_of_all(tmp_path: Path, fold: Fold) -> None:
    def work(group: Group) -> FoldResult:
        deadline = 0.0 if group.rank == 1 else None
        return fit(group, folder=tmp_path, data=fold(), plan=PLAN, deadline=deadline)

    for result in together(work):
        assert result.stopped == "deadline"
        assert result.history["step"].tolist() == [1]


def test_the_number_of_processes_is_part_of_a_training(tmp_path: Path, fold: Fold) -> None:
    work = partial(fit, folder=tmp_path, data=fold(), plan=PLAN)
    with pytest.raises(Interrupted):
        work(SOLO, should_stop=lambda: True)
    with pytest.raises(ConfigError, match="processes was 1, now 2"):
        together(work)


def test_a_batch_must_serve_every_process(
    tmp_path: Path, fold: Fold, tiny_net: Callable[[], nn.Module]
) -> None:
    work = partial(fit, folder=tmp_path, data=fold(), build=tiny_net)
    with pytest.raises(ConfigError, match=r"each of 2 processes needs 2 .* to 4 or more"):
        together(partial(work, plan=replace(PLAN, batch_size=3)))


def test_losses_that_overflow_in_one_process_stop_all(tmp_path: Path, fold: Fold) -> None:
    data = fold()

    def hook(pixels: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
        return pixels * (torch.inf if is_second else 1), targets

    is_second = False

    def work(group: Group) -> FoldResult:
        nonlocal is_second
        is_second = group.rank == 1
        return fit(group, folder=tmp_path, data=replace(data, hook=hook), plan=PLAN)

    for error in Started(work).results():
        assert isinstance(error, DataError)
        assert "no longer finite" in str(error)


def test_a_killed_process_ends_the_others_and_all_go_on(
    tmp_path: Path, fold: Fold, tiny_net: Callable[[], nn.Module]
) -> None:
    work = partial(fit, data=fold(), plan=PLAN, build=tiny_net)

    def dying(group: Group) -> None:
        def kill_at(done: int, total: int) -> None:
            if group.rank == 1 and done == 6:
                os.kill(os.getpid(), signal.SIGKILL)

        work(group, folder=tmp_path / "killed", on_step=kill_at)

    started = Started(dying)
    assert started.receivers[0].poll(60)
    began = time.monotonic()
    error = started.receivers[0].recv()
    assert isinstance(error, ResourceError)
    assert "The same command goes on" in str(error)
    for process in started.processes:
        process.join(10)
    assert time.monotonic() - began < 10
    assert started.processes[1].exitcode == -signal.SIGKILL
    for folder in ("killed", "whole"):
        together(partial(work, folder=tmp_path / folder))
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_a_user_error_is_told_as_it_is(tmp_path: Path) -> None:
    def work(group: Group) -> None:
        if group.rank == 1:
            raise UserError("mine")
        group.wait()

    first, second = Started(work).results()
    assert isinstance(first, ResourceError)
    assert str(second) == "mine"


def test_scores_are_of_all_images(tmp_path: Path, fold: Fold) -> None:
    """Each process computes half of the outputs; the metric sees each image once."""

    def work(group: Group) -> FoldResult:
        def count(truth: Any, values: Any) -> float:
            assert len(truth) == len(values) == 10
            assert np.isfinite(values).all()
            return float(len(values))

        data = replace(fold(), scorer=Scorer("count", count, greater_is_better=True))
        return fit(group, folder=tmp_path, data=data, plan=PLAN)

    for result in together(work, size=3):
        assert result.history["score"].tolist() == [10, 10, 10]
