"""Files that are either not there, the old one, or the complete new one (include/common/files.py)."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.common.files import atomic_write, publish, sha256_of, temporary_beside
from include.errors import StoreFull

ROOT = Path(__file__).resolve().parents[2]


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "a file.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == target.parent
        temporary.write_text("all of it")
    assert target.read_text() == "all of it"
    assert list(target.parent.iterdir()) == [target]


def test_readers_of_the_old_file_keep_it(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with target.open() as reader:
        with atomic_write(target) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.EIO, "broken disk")])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(type(error)) as raised, atomic_write(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert raised.value is error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(StoreFull) as full, atomic_write(target) as temporary:  # noqa: PT012
        temporary.symlink_to("/dev/full")
        temporary.write_text("x")
    assert full.value.what == f"No space left for a.txt in {tmp_path}; nothing was changed."
    assert full.value.next_step.startswith("Free disk space there")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_known_from_the_words_of_a_library_too(tmp_path: Path, number: int) -> None:
    """One that writes by itself has the system's number in its text only."""
    target = tmp_path / "a.txt"
    for error in (OSError(f"{os.strerror(number)} (os error {number})"), RuntimeError(f"write: (os error {number})")):
        with pytest.raises(StoreFull) as full, atomic_write(target):
            raise error
        assert full.value.what == f"No space left for a.txt in {tmp_path}; nothing was changed."
        assert full.value.__cause__ is error


@pytest.mark.parametrize("error", [OSError("broken (os error 5)"), RuntimeError("os error 28 is a full disk")])
def test_other_words_of_a_library_are_no_full_disk(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, atomic_write(tmp_path / "a.txt"):
        raise error
    assert raised.value is error


def test_what_a_killed_writer_left_is_reused_and_removed(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    script = (
        "import os, signal, sys; from pathlib import Path; from include.common.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(target)], cwd=ROOT, timeout=120, check=False)
    assert done.returncode == -9
    assert [path.name for path in tmp_path.iterdir()] == [".a.txt.tmp"]
    with atomic_write(target) as temporary:
        assert not temporary.exists()
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == [target]


def test_a_temporary_that_is_not_published_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with temporary_beside(target) as temporary:
        temporary.write_text("rehearsal")
    assert list(tmp_path.iterdir()) == []


def test_a_published_file_is_readable_by_the_group_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        temporary = tmp_path / "t"
        temporary.write_text("x")
        publish(temporary, tmp_path / "a.txt")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    assert not temporary.exists()


def test_the_hash_is_over_all_bytes(tmp_path: Path) -> None:
    content = os.urandom(3_000_001)
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()
