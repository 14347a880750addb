"""Durable writes, keys and locks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gorae.errors import StorageError, UserError
from gorae.files import (
    atomic_path,
    content_key,
    exclusive_lock,
    read_json,
    require_free_space,
    sha256_bytes,
    sha256_file,
    sweep_temporaries,
    write_bytes,
    write_json,
)


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_bytes(target, b"old")

    def fail_half_way() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("when", range(6))
def test_killed_writer_leaves_the_old_or_the_new_file(tmp_path: Path, when: int) -> None:
    """A process killed at its n-th system write leaves content that matches its own hash."""
    target = tmp_path / "state"
    write_bytes(target, b"0" * 300_000)
    program = f"""
import os, pathlib, signal, time
import gorae.files as files
calls = 0
def counted(real):
    def wrapper(*args, **kwargs):
        global calls
        if calls == {when}:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1
        return real(*args, **kwargs)
    return wrapper
os.fsync = counted(os.fsync)
os.replace = counted(os.replace)
os.open = counted(os.open)
files.write_bytes(pathlib.Path({str(target)!r}), b"1" * 300_000)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    content = target.read_bytes()
    assert len(content) == 300_000
    assert set(content) in ({ord("0")}, {ord("1")})
    if done.returncode == 0:
        assert content[:1] == b"1"
    sweep_temporaries(tmp_path)
    assert os.listdir(tmp_path) == ["state"]


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"Cannot write .*file/below/a\.txt"):
        write_bytes(tmp_path / "file" / "below" / "a.txt", b"x")


def test_full_disk_is_said_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match=r"Too little disk for pixels: it needs 1,000,000,000"
    ):
        require_free_space(tmp_path / "not" / "yet", 10**15, purpose="pixels")


def test_second_process_is_refused_by_name_and_lock_is_free_after(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    message = f"already training here .pid {os.getpid()} on"

    def lock_again() -> None:
        with exclusive_lock(lock, purpose="training"):
            pass

    with exclusive_lock(lock, purpose="training"), pytest.raises(UserError, match=message):
        lock_again()
    lock_again()


def test_keys_depend_on_values_and_not_on_order() -> None:
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})
    assert len(content_key(None)) == 16


def test_hash_of_file_is_hash_of_bytes(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"whale")
    assert sha256_file(tmp_path / "a") == sha256_bytes(b"whale")


def test_json_round_trip_and_damage(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"고래": [1.5, None]})
    assert read_json(tmp_path / "a.json") == {"고래": [1.5, None]}
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(StorageError, match=r"Cannot read .*a\.json"):
        read_json(tmp_path / "a.json")
