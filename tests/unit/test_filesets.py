"""Several files that change together (include/common/filesets.py; cvas R35, R78)."""

from __future__ import annotations

import errno
import itertools
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.common.filesets import JOURNAL, finish, publish_together, staging, write_staged
from include.common.journal import RunLog
from include.errors import CheckFailed, StoreFull
from tests.unit.forked import run_in_child

# What changes names on the disk, and the opening of files to sync or write them.
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "open")

OLD = {"a/data": "old a", "b/part-0": "old b, first half", "b/part-1": "old b, second half", "state": "old state"}
NEW = {"a/data": "new a", "b/data": "new b", "c/month/data": "new c", "state": "new state"}
REMOVED = ("b/part-0", "b/part-1", "gone/data")


class Store:
    """A folder with files, and new ones staged for it."""

    def __init__(self, root: Path) -> None:
        self.files, self.staging = root / "store", root / "staging"
        self.journal = self.staging / "journal.json"
        for name, content in {**OLD, "gone/data": "old"}.items():
            self._write(self.files / name, content)
        for name, content in NEW.items():
            self._write(self.staging / name, content)

    def publish(self) -> None:
        publish_together(
            self.journal,
            {self.files / name: self.staging / name for name in NEW},
            remove=[self.files / name for name in REMOVED],
        )

    def content(self) -> dict[str, str]:
        return {str(path.relative_to(self.files)): path.read_text() for path in self.files.rglob("*") if path.is_file()}

    @staticmethod
    def _write(path: Path, content: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


BEFORE = {**OLD, "gone/data": "old"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_all_files_change_and_those_they_replace_go(store: Store) -> None:
    store.publish()
    assert store.content() == NEW
    assert not store.journal.exists()
    assert not (store.files / "gone").exists()  # a folder that a removal leaves empty
    assert (store.files / "c" / "month" / "data").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_still_holds_something_stays(store: Store) -> None:
    (store.files / "gone" / "else").write_text("not ours")
    store.publish()
    assert store.content() == {**NEW, "gone/else": "not ours"}


def test_without_a_journal_there_is_nothing_to_finish(store: Store) -> None:
    assert finish(store.journal) == []
    assert store.content() == BEFORE


class Disk:
    """What is told to the disk in order: what is synced, and what is renamed to what."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.told = root.resolve(), list[tuple[str, ...]]()
        sync, rename = os.fsync, os.replace

        def fsync(descriptor: int) -> None:
            self._note("sync", Path(f"/proc/self/fd/{descriptor}").readlink())
            sync(descriptor)

        def replace(source: str | Path, target: str | Path) -> None:
            self._note("rename", source, target)
            rename(source, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)

    def _note(self, what: str, *paths: str | Path) -> None:
        self.told.append((what, *(os.path.relpath(os.path.realpath(path), self.root) for path in paths)))

    def before(self, *event: str) -> set[str]:
        """What was synced before this."""
        return {path for what, path, *_ in self.told[: self.told.index(event)] if what == "sync"}

    def after(self, *event: str) -> set[str]:
        """What was synced after this."""
        return {path for what, path, *_ in self.told[self.told.index(event) :] if what == "sync"}


def test_everything_a_journal_promises_is_on_the_disk_before_the_journal_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R35: contents and names of the staged files, then the journal, then the first rename of a target."""
    store = Store(tmp_path)
    disk = Disk(tmp_path, monkeypatch)
    store.publish()
    staged = {f"staging/{name}" for name in NEW}
    folders = {"staging", "staging/a", "staging/b", "staging/c/month"}
    assert staged | folders <= disk.before("rename", "staging/.journal.json.tmp", "staging/journal.json")
    begun = disk.before("rename", "staging/a/data", "store/a/data")
    assert begun == {*staged, *folders, "staging/.journal.json.tmp"}
    assert disk.told.count(("sync", "staging")) == 3  # before the journal, when it is there, when it is gone
    kept = disk.after("rename", "staging/state", "store/state")
    assert kept == {"store", "store/a", "store/b", "store/c/month", "staging"}
    assert {"store", "store/c"} <= disk.before("rename", "staging/c/month/data", "store/c/month/data")


def test_new_names_are_on_the_disk_before_old_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R35: a partition of several files is never without its rows."""
    store = Store(tmp_path)
    disk = Disk(tmp_path, monkeypatch)
    unlink = Path.unlink

    def noted(path: Path, *, missing_ok: bool = False) -> None:
        disk.told.append(("unlink", path.name))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", noted)
    store.publish()
    assert {"store", "store/a", "store/b", "store/c/month"} <= disk.before("unlink", "part-0")
    assert disk.told[-2:] == [("unlink", "journal.json"), ("sync", "staging")]


def test_the_folder_of_staged_files_is_on_the_disk_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R35: a journal that is lost with its folder would leave half of the files in place."""
    disk = Disk(tmp_path, monkeypatch)
    with staging(tmp_path / "_staging" / "load", RunLog(), what="A change"):
        assert disk.told == [("sync", "."), ("sync", "_staging")]


def kill_at(number: int) -> Any:
    calls = itertools.count()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES and next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def test_after_a_kill_at_any_point_it_is_all_or_nothing(tmp_path: Path) -> None:
    """R35, R78: killed before every single change of the disk; finishing completes what has a journal."""
    outcomes = []
    for number in itertools.count():
        store = Store(tmp_path / str(number))
        killed = run_in_child(store.publish, kill_at(number))
        if killed is None:
            break
        assert killed == signal.SIGKILL
        begun = store.journal.exists()
        if not begun:
            assert store.content() in (BEFORE, NEW)
        finish(store.journal)
        assert store.content() == (NEW if begun or store.content() == NEW else BEFORE)
        assert not store.journal.exists()
        assert finish(store.journal) == []
        outcomes.append("finished" if begun else "untouched" if store.content() == BEFORE else "done")
    # Three phases in this order, and the kill came in each of them.
    assert [phase for phase, _ in itertools.groupby(outcomes)] == ["untouched", "finished", "done"]
    assert outcomes.count("finished") > 2 * len(NEW)


def test_a_kill_while_finishing_is_finished_the_next_time(tmp_path: Path) -> None:
    """R78."""
    for first, second in itertools.product((20, 22, 24), range(12)):
        store = Store(tmp_path / f"{first} {second}")
        run_in_child(store.publish, kill_at(first))
        assert store.journal.exists()
        run_in_child(lambda store=store: finish(store.journal), kill_at(second))  # type: ignore[misc]
        finish(store.journal)
        assert store.content() == NEW


def test_finishing_says_what_it_put_in_place(store: Store) -> None:
    renames = itertools.count()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        # The first rename is that of the journal itself.
        if event == "os.rename" and next(renames) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    assert run_in_child(store.publish, hook) == signal.SIGKILL
    assert store.content() == {**BEFORE, "a/data": "new a", "b/data": "new b"}
    placed = [path.resolve().relative_to(store.files).as_posix() for path in finish(store.journal)]
    assert placed == ["c/month/data", "state"]


def test_old_files_go_only_when_all_new_ones_are_in_place(store: Store) -> None:
    """R35: a partition of several files is never without its rows."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.remove" and "part-" in str(arguments[0]):
            raise OSError(errno.EIO, str(sorted(store.content())))

    failed = run_in_child(store.publish, hook)
    assert isinstance(failed, OSError)
    assert failed.strerror == str(sorted({**BEFORE, **NEW}))


def test_a_full_disk_before_the_journal_changes_nothing(store: Store) -> None:
    """Section 6: disk full."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".journal.json.tmp"):
            raise OSError(errno.ENOSPC, "No space left on device")

    failed = run_in_child(store.publish, hook)
    assert isinstance(failed, StoreFull)
    assert store.content() == BEFORE
    assert not store.journal.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"renames": [["a"]], "remove": []}', '{"renames": []}', "\x00\x00"])
def test_a_damaged_journal_is_named_and_nothing_is_touched(store: Store, text: str) -> None:
    store.journal.write_text(text)
    with pytest.raises(CheckFailed) as failed:
        finish(store.journal)
    assert failed.value.what.startswith(f"The journal {store.journal} of a change that was killed is damaged (")
    assert store.content() == BEFORE
    assert store.journal.read_text() == text


def test_the_store_may_have_moved_since_the_journal_was_written(tmp_path: Path) -> None:
    """A volume mounted elsewhere."""
    store = Store(tmp_path / "here")
    run_in_child(store.publish, kill_at(22))
    assert store.journal.exists()
    (tmp_path / "here").rename(tmp_path / "there")
    finish(tmp_path / "there" / "staging" / "journal.json")
    store.files = tmp_path / "there" / "store"
    assert store.content() == NEW


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("xyz"), min_size=1), st.integers(0, 40))
def test_any_set_of_files_is_all_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, new: dict[str, str], point: int
) -> None:
    """R78."""
    root = tmp_path_factory.mktemp("store")
    for folder in ("files", "staging"):
        (root / folder).mkdir()
    (root / "files" / "a").write_text("old")
    before = {"a": "old"}
    for name, content in new.items():
        (root / "staging" / name).write_text(content)
    journal = root / "staging" / "journal.json"
    targets = {root / "files" / name: root / "staging" / name for name in new}
    run_in_child(lambda: publish_together(journal, targets), kill_at(point))
    finish(journal)
    found = {path.name: path.read_text() for path in (root / "files").iterdir()}
    assert found in (before, {**before, **new})


# --- staging --------------------------------------------------------------------------------------------------------


def stage_and_publish(root: Path, run: RunLog) -> None:
    with staging(root / "staging", run, what="A change") as folder:
        files = {root / name: write_staged(folder / name, b"new") for name in ("a", "b")}
        publish_together(folder / JOURNAL, files)


def test_the_staging_folder_is_empty_before_and_gone_after(tmp_path: Path) -> None:
    run = RunLog()
    with staging(tmp_path / "staging", run, what="A change") as folder:
        assert list(folder.iterdir()) == []
        (folder / "half").write_text("half")
    assert not folder.exists()
    with pytest.raises(FileNotFoundError), staging(folder, run, what="A change"):
        (folder / "half").rename(folder / "whole")
    assert not folder.exists()
    assert run.warnings == []


def test_what_a_kill_left_is_finished_or_undone_by_the_next_and_told(tmp_path: Path) -> None:
    """R35: killed before every single change of the disk."""
    told = []
    for number in itertools.count():
        root = tmp_path / str(number)
        root.mkdir()
        if run_in_child(lambda root=root: stage_and_publish(root, RunLog()), kill_at(number)) is None:  # type: ignore[misc]
            break
        renamed = {name for name in "ab" if (root / name).exists()}
        journaled, left = (root / "staging" / JOURNAL).exists(), (root / "staging").exists()
        run = RunLog()
        with staging(root / "staging", run, what="A change"):
            assert {name for name in "ab" if (root / name).exists()} == ({"a", "b"} if journaled else renamed)
        if journaled:
            assert run.warnings == [
                f"A change had been killed while its files were put in place; {2 - len(renamed)} more were, and it is "
                "complete now."
            ]
        elif not left or renamed:
            assert run.warnings == []
        told += run.warnings
        stage_and_publish(root, run)
        assert {path.name: path.read_text() for path in root.iterdir()} == {"a": "new", "b": "new"}
    assert len(set(told)) == 4
    assert "A change had been killed before any of its files were in place; it was undone." in told
