"""The engine: bounded in memory (section 6), closed to the world, silent about subscribers (R5)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from include.cvas.config import Lake, Settings
from include.cvas.engine import open_engine, scratch_of
from include.errors import ContractViolation, StoreFull

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_what_does_not_fit_into_memory_goes_to_the_staging_folder(lake: Lake) -> None:
    """Section 6: a limit and a folder to spill into."""
    with open_engine(lake, Settings(memory_limit="60MB")) as engine:
        folder = scratch_of(engine)
        engine.execute("CREATE TABLE long AS SELECT range AS a, random() AS b FROM range(10_000_000)")
        assert folder.parent == lake.staging
        assert sum(path.stat().st_size for path in folder.iterdir()) > 10_000_000
    assert not folder.exists()


def test_more_than_memory_and_disk_hold_is_an_error_that_says_so(lake: Lake) -> None:
    """Section 6."""

    def ask_for_more() -> None:
        with open_engine(lake, Settings(memory_limit="20MB")) as engine:
            engine.execute("SET max_temp_directory_size = '1MB'")
            engine.execute("CREATE TABLE long AS SELECT range AS a, random() AS b FROM range(10_000_000)")

    with pytest.raises(StoreFull, match="memory_limit 20MB and the disk do not suffice"):
        ask_for_more()
    assert list(lake.staging.iterdir()) == []


def test_two_engines_at_once_share_no_folder(lake: Lake) -> None:
    with open_engine(lake, Settings()) as one, open_engine(lake, Settings()) as other:
        assert {scratch_of(one).name, scratch_of(other).name} == {"spill-0", "spill-1"}


def test_what_a_killed_process_left_is_removed_by_the_next(lake: Lake) -> None:
    """R68: spilled data is the largest thing a crash leaves."""
    script = (
        "import os, signal, sys; from pathlib import Path; from include.cvas.config import Lake, Settings\n"
        "from include.cvas.engine import open_engine, scratch_of\n"
        "with open_engine(Lake(Path(sys.argv[1])), Settings()) as engine:\n"
        "    (scratch_of(engine) / 'left').write_text('much')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(lake.root)], cwd=ROOT, check=False)
    assert (lake.staging / "spill-0" / "left").exists()
    with open_engine(lake, Settings()) as engine:
        assert list(scratch_of(engine).iterdir()) == []


def test_errors_do_not_quote_subscribers(lake: Lake) -> None:
    """R5: the engine quotes the value it cannot convert."""
    with pytest.raises(ContractViolation) as failure, open_engine(lake, Settings()) as engine:
        engine.execute("SELECT '34600000017 x'::BIGINT")
    assert "34600000017" not in str(failure.value)
    assert "*** x" in str(failure.value)
    assert failure.value.__cause__ is None


def test_extensions_come_from_nowhere(lake: Lake) -> None:
    """R72: nothing is downloaded, nothing of the machine is loaded."""
    with open_engine(lake, Settings()) as engine:
        settings = engine.execute(
            "SELECT current_setting('autoinstall_known_extensions'), current_setting('autoload_known_extensions')"
        ).fetchall()
    assert settings == [(False, False)]


def test_variables_of_the_program_are_not_tables(lake: Lake) -> None:
    rows = [1, 2, 3]
    with pytest.raises(ContractViolation, match="rows does not exist"), open_engine(lake, Settings()) as engine:
        engine.execute("SELECT * FROM rows")
    assert rows
