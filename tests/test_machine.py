"""Cores, processor and fingerprint, as the system's own files state them."""

import os
from pathlib import Path

import pytest

from gorae.machine import machine_fingerprint, num_cores, processor_name

CPU_INFO = """processor\t: 0
model name\t: Walfisch 9000
cpu family\t: 6
model\t\t: 143
stepping\t: 8
flags\t\t: fpu sse2 {ability}

processor\t: 1
model name\t: another
"""


def available() -> int:
    return len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "most"),
    [("max 100000", None), ("100000 100000", 1), ("50000 100000", 1), ("250000 100000", 2)],
)
def test_a_container_gets_the_whole_cores_of_its_share(
    tmp_path: Path, text: str, most: int | None
) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text(text + "\n")
    assert num_cores(limit) == min(available(), most or available())


def test_without_a_limit_the_affinity_counts(tmp_path: Path) -> None:
    assert num_cores(tmp_path / "absent") == available()


def test_the_processor_is_called_by_the_name_of_its_first_core(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(CPU_INFO)
    assert processor_name(info) == "Walfisch 9000"
    assert processor_name(tmp_path / "absent") != ""


def test_another_ability_or_number_of_cores_is_another_machine(tmp_path: Path) -> None:
    one_core, all_cores = tmp_path / "cpu.max", tmp_path / "absent"
    one_core.write_text("50000 100000")
    names = {}
    for ability in ("avx2", "amx_tile"):
        info = tmp_path / ability
        info.write_text(CPU_INFO.format(ability=ability))
        names[ability] = machine_fingerprint(info, all_cores)
        assert names[ability] == machine_fingerprint(info, all_cores)
        assert machine_fingerprint(info, one_core).endswith(", 1 cores")
    assert names["avx2"] != names["amx_tile"]
