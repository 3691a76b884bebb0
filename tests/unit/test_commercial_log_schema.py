"""The booked-business schema (domain section 4.1), its views (4.3), its seeds (3.4) and the migration runner."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from include.commercial_log.database import TABLES, open_database
from include.common.sql import migrate, read_sql, transaction
from include.errors import ContractViolation, SourceMissing, StoreBusy

MIGRATIONS = [
    "0001_create_tables",
    "0002_create_indexes",
    "0003_create_views",
    "0004_seed_reference",
    "0005_create_month_closure_totals",
]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "booked business.db"


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(path, create=True)) as connection:
        yield connection


def insert(db: sqlite3.Connection, table: str, **values: Any) -> None:
    marks = ", ".join("?" * len(values))
    db.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


def spot(db: sqlite3.Connection, **values: Any) -> None:
    insert(db, "spots", **{"bill_code": "Blue Farms", "air_date": "2025-08-28", "broadcast_month": "Sep-25"} | values)


def rows(db: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    return db.execute(query).fetchall()


# --- opening --------------------------------------------------------------------------------------------------------


def test_an_opened_database_has_wal_foreign_keys_and_a_busy_timeout_of_30_seconds(db: sqlite3.Connection) -> None:
    pragmas = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "foreign_keys", "busy_timeout")]
    assert pragmas == ["wal", 1, 30_000]
    assert db.isolation_level is None


def test_a_missing_file_is_named_and_not_created(path: Path) -> None:
    """Wrong default paths wrote into an empty skeleton (section 8, 10)."""
    with pytest.raises(
        SourceMissing, match=r"There is no booked-business database at .*booked business\.db\..*connection"
    ):
        open_database(path)
    assert not path.exists()


def test_a_database_without_the_tables_is_refused_with_their_names(path: Path) -> None:
    """R16."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE customers (id)")
        other.execute("CREATE TABLE spots (id)")
    with pytest.raises(ContractViolation) as refused:
        open_database(path)
    assert refused.value.what == (
        f"The database {path} lacks the tables agencies, entity_aliases, import_batches, import_rejects, "
        "language_blocks, languages, market_aliases, markets, month_closures, programming_schedules, "
        "schedule_collision_log, schedule_market_assignments, sectors, spot_language_assignments, "
        "spot_language_blocks, month_closure_totals."
    )


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(ContractViolation, match="is not an SQLite database"):
        open_database(path)


def test_the_created_tables_are_exactly_the_contract(db: sqlite3.Connection) -> None:
    created = rows(db, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
    assert [name for (name,) in created] == sorted([*TABLES, "schema_migrations"])


def test_a_read_only_connection_reads_and_cannot_write(db: sqlite3.Connection, path: Path) -> None:
    with closing(open_database(path, read_only=True)) as reader:
        assert rows(reader, "SELECT count(*) FROM languages") == [(11,)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            spot(reader)


# --- transactions ---------------------------------------------------------------------------------------------------


def test_a_transaction_is_invisible_until_its_end(db: sqlite3.Connection, path: Path) -> None:
    """R33: readers see all old or all new."""
    with closing(open_database(path, read_only=True)) as reader:
        with transaction(db):
            spot(db)
            assert rows(reader, "SELECT count(*) FROM spots") == [(0,)]
        assert rows(reader, "SELECT count(*) FROM spots") == [(1,)]


def test_an_error_inside_a_transaction_undoes_all_of_it(db: sqlite3.Connection) -> None:
    def load() -> None:
        with transaction(db):
            spot(db)
            spot(db, revenue_type="Trade")

    with pytest.raises(sqlite3.IntegrityError):
        load()
    assert rows(db, "SELECT count(*) FROM spots") == [(0,)]
    assert not db.in_transaction


def test_a_database_locked_by_another_writer_is_store_busy(db: sqlite3.Connection, path: Path) -> None:
    with closing(open_database(path)) as other, transaction(db):
        other.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(StoreBusy, match=r"booked business\.db is locked"), transaction(other):
            raise AssertionError("the lock was given twice")


# --- migrations -----------------------------------------------------------------------------------------------------


def test_migrations_are_applied_once_and_kept_in_a_ledger(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        assert migrate(db, "commercial_log") == MIGRATIONS
        schema = rows(db, "SELECT name, sql FROM sqlite_master")
        assert migrate(db, "commercial_log") == []
        assert rows(db, "SELECT name, sql FROM sqlite_master") == schema
        ledger = rows(db, "SELECT name, length(sha256), applied_at IS datetime(applied_at) FROM schema_migrations")
        assert ledger == [(name, 64, 1) for name in MIGRATIONS]


def test_every_migration_can_run_again_without_a_change(db: sqlite3.Connection) -> None:
    before = list(db.iterdump())
    db.execute("DELETE FROM schema_migrations")
    assert migrate(db, "commercial_log") == MIGRATIONS
    without_ledger = [line for line in before if "schema_migrations" not in line]
    assert [line for line in db.iterdump() if "schema_migrations" not in line] == without_ledger


def test_seeds_leave_what_people_have_edited(db: sqlite3.Connection) -> None:
    """3.4: seed once, idempotently."""
    db.execute("UPDATE markets SET market_name = 'THE BAY' WHERE market_code = 'SFO'")
    db.execute("UPDATE language_blocks SET block_name = 'New Name', is_active = 0 WHERE block_id = 1")
    db.execute("DELETE FROM schema_migrations WHERE name = '0004_seed_reference'")
    assert migrate(db, "commercial_log") == ["0004_seed_reference"]
    assert rows(db, "SELECT market_id, market_name FROM markets WHERE market_code = 'SFO'") == [(3, "THE BAY")]
    assert rows(db, "SELECT block_name, is_active FROM language_blocks WHERE block_id = 1") == [("New Name", 0)]
    assert rows(db, "SELECT count(*) FROM language_blocks") == [(227,)]


def test_a_migration_changed_after_it_was_applied_is_refused(db: sqlite3.Connection) -> None:
    db.execute("UPDATE schema_migrations SET sha256 = 'of another text' WHERE name = '0002_create_indexes'")
    db.execute("DELETE FROM schema_migrations WHERE name = '0001_create_tables'")
    with pytest.raises(ContractViolation, match="Migration 0002_create_indexes is not the file that was applied"):
        migrate(db, "commercial_log")
    assert rows(db, "SELECT count(*) FROM schema_migrations") == [(4,)]


@pytest.mark.parametrize(
    ("fatal_statement", "survivors"),
    [
        ("CREATE TABLE IF NOT EXISTS spots", []),
        ("CREATE INDEX IF NOT EXISTS idx_spots_category", MIGRATIONS[:1]),
        ("INSERT INTO language_blocks", MIGRATIONS[:3]),
    ],
)
def test_a_migration_killed_in_the_middle_is_not_applied(
    path: Path, fatal_statement: str, survivors: list[str]
) -> None:
    killed = f"""
import os, sqlite3, sys
from include.common.sql import migrate

db = sqlite3.connect(sys.argv[1])
db.set_trace_callback(lambda statement: os._exit(9) if {fatal_statement!r} in statement else None)
migrate(db, "commercial_log")
"""
    run = subprocess.run([sys.executable, "-c", killed, path], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert run.returncode == 9

    with closing(sqlite3.connect(path)) as db:
        ledger = "SELECT name FROM schema_migrations" if survivors else "SELECT name FROM sqlite_master"
        assert [name for (name,) in rows(db, ledger)] == survivors
        assert migrate(db, "commercial_log") == MIGRATIONS[len(survivors) :]
        assert rows(db, "SELECT count(*) FROM language_blocks") == [(227,)]


def _migrated_names(path: Path, barrier: Any, names: Any) -> None:
    with closing(sqlite3.connect(path, timeout=120)) as db:
        barrier.wait()
        names.put(migrate(db, "commercial_log"))


def test_two_processes_migrating_at_once_apply_each_file_once(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, names = spawn.Barrier(2), spawn.Queue()
    workers = [spawn.Process(target=_migrated_names, args=(path, barrier, names)) for _ in range(2)]
    for worker in workers:
        worker.start()
    applied = names.get(timeout=120) + names.get(timeout=30)
    for worker in workers:
        worker.join()
    names.close()
    names.join_thread()
    assert sorted(applied) == MIGRATIONS


def test_sql_of_an_unknown_name_is_an_error() -> None:
    assert read_sql("commercial_log", "migrations/0002_create_indexes").startswith("-- Creates the indexes")
    with pytest.raises(FileNotFoundError):
        read_sql("commercial_log", "select_nothing")


# --- tables ---------------------------------------------------------------------------------------------------------


def test_a_spot_has_its_columns_in_the_order_of_the_contract(db: sqlite3.Connection) -> None:
    columns = (
        "spot_id bill_code air_date end_date day_of_week time_in time_out length_seconds media comments language_code "
        "format sequence_number line_number spot_type estimate gross_rate make_good spot_value broadcast_month "
        "broker_fees priority station_net sales_person revenue_type billing_type agency_flag affidavit_flag contract "
        "market_name customer_id agency_id market_id language_id load_date source_file is_historical effective_date "
        "import_batch_id spot_category row_hash"
    )
    assert [name for (name,) in rows(db, "SELECT name FROM pragma_table_info('spots')")] == columns.split()


@pytest.mark.parametrize(
    "bad",
    [
        {"bill_code": None},
        {"air_date": None},
        {"air_date": "2025-13-01"},
        {"air_date": "08/28/2025"},
        {"end_date": "2025-08-28 00:00:00"},
        {"broadcast_month": None},
        {"broadcast_month": "sep-25"},
        {"broadcast_month": "Sep-2025"},
        {"broadcast_month": "2025-09"},
        {"broadcast_month": "Sep-2x"},
        {"spot_type": "com"},
        {"spot_type": "SPOT"},
        {"billing_type": "calendar"},
        {"affidavit_flag": "Yes"},
        {"revenue_type": "Trade"},
        {"revenue_type": " trade"},
        {"gross_rate": "$1,250.00"},
        {"is_historical": 2},
        {"customer_id": 1},
        {"agency_id": 1},
        {"market_id": 99},
        {"language_id": 99},
        {"import_batch_id": "weekly_update_0"},
    ],
    ids=str,
)
def test_a_spot_that_breaks_the_contract_is_refused(db: sqlite3.Connection, bad: dict[str, Any]) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        spot(db, **bad)
    assert rows(db, "SELECT count(*) FROM spots") == [(0,)]


def test_every_allowed_flag_and_month_is_accepted(db: sqlite3.Connection) -> None:
    for spot_type in ("AV", "BB", "BNS", "COM", "CRD", "PKG", "PRD", "PRG", "SVC", "", None):
        spot(db, spot_type=spot_type)
    for billing_type in ("Calendar", "Broadcast", "", None):
        spot(db, billing_type=billing_type)
    for affidavit_flag in ("Y", "N", "", None):
        spot(db, affidavit_flag=affidavit_flag)
    for revenue_type in ("Internal Ad Sales", "Trade Show", "", None):
        spot(db, revenue_type=revenue_type)
    for name in ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"):
        spot(db, broadcast_month=f"{name}-09")
    assert rows(db, "SELECT count(*) FROM spots") == [(35,)]


def test_money_is_stored_unrounded(db: sqlite3.Connection) -> None:
    spot(db, gross_rate=352.941176470588, station_net=300)
    assert rows(db, "SELECT gross_rate, station_net, typeof(station_net) FROM spots") == [
        (352.941176470588, 300.0, "real")
    ]


def test_the_id_of_a_removed_spot_is_not_given_again(db: sqlite3.Connection) -> None:
    spot(db)
    db.execute("DELETE FROM spots")
    spot(db)
    assert rows(db, "SELECT spot_id FROM spots") == [(2,)]


def test_removing_a_spot_removes_its_assignments_and_removing_a_batch_keeps_the_spot(db: sqlite3.Connection) -> None:
    insert(db, "import_batches", batch_id="b1", import_mode="MANUAL", status="RUNNING")
    insert(db, "import_rejects", batch_id="b1", severity="reject", reason="BAD_MONEY")
    spot(db, import_batch_id="b1")
    spot(db)
    for spot_id in (1, 2):
        _assign(db, spot_id, "M", "determined", "direct_mapping", 0)
        insert(db, "spot_language_blocks", **GRID_ROW | {"spot_id": spot_id})
    db.execute("DELETE FROM spots WHERE spot_id = 2")
    db.execute("DELETE FROM import_batches")
    assert rows(db, "SELECT spot_id, import_batch_id FROM spots") == [(1, None)]
    assert rows(db, "SELECT spot_id FROM spot_language_assignments") == [(1,)]
    assert rows(db, "SELECT spot_id FROM spot_language_blocks") == [(1,)]


@pytest.mark.parametrize("parent", ["customers", "agencies", "markets", "languages"])
def test_reference_rows_in_use_cannot_be_removed(db: sqlite3.Connection, parent: str) -> None:
    insert(db, "customers", normalized_name="Blue Farms")
    insert(db, "agencies", agency_name="North Media")
    spot(db, customer_id=1, agency_id=1, market_id=1, language_id=1)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        db.execute(f"DELETE FROM {parent}")


GRID_ROW: dict[str, Any] = {
    "spot_id": 1,
    "schedule_id": 1,
    "block_id": 1,
    "customer_intent": "language_specific",
    "intent_confidence": 1.0,
    "spans_multiple_blocks": 0,
    "assignment_method": "auto_computed",
}
BLOCK = {"schedule_id": 1, "day_of_week": "monday", "language_id": 1, "block_name": "Extra"}
SCHEDULE = {"schedule_name": "Grid", "schedule_version": "1", "schedule_type": "standard"}


@pytest.mark.parametrize(
    ("table", "bad"),
    [
        ("import_batches", {"batch_id": "b", "import_mode": "DAILY", "status": "RUNNING"}),
        ("import_batches", {"batch_id": "b", "import_mode": "MANUAL", "status": "DONE"}),
        (
            "import_batches",
            {"batch_id": "b", "import_mode": "MANUAL", "status": "RUNNING", "broadcast_months_affected": "{}"},
        ),
        ("import_rejects", {"batch_id": "b0", "severity": "error", "reason": "BAD_MONEY"}),
        ("import_rejects", {"batch_id": "b0", "severity": "reject", "reason": "BAD_MONEY", "raw_value": "x" * 201}),
        ("month_closures", {"broadcast_month": "Sep-25", "closed_date": "2025-10-15", "closed_by": None}),
        ("month_closures", {"broadcast_month": "Sep-25", "closed_date": "2025-10-15", "closed_by": " "}),
        ("month_closures", {"broadcast_month": "9-25", "closed_date": "2025-10-15", "closed_by": "Ana"}),
        ("markets", {"market_code": "SF", "market_name": "SAN FRANCISCO"}),
        ("markets", {"market_code": "SFO", "market_name": "ANOTHER"}),
        ("market_aliases", {"alias": "ADMIN", "market_code": "LAX"}),
        ("languages", {"language_code": "Hm", "language_name": "Again"}),
        ("sectors", {"sector_code": "AUTO", "sector_name": "Again"}),
        ("entity_aliases", {"alias_name": "x", "entity_type": "market", "target_entity_id": 1}),
        (
            "entity_aliases",
            {"alias_name": "x", "entity_type": "agency", "target_entity_id": 1, "confidence_score": 101},
        ),
        ("language_blocks", BLOCK | {"time_start": "08:00:00", "time_end": "08:00:00"}),
        ("language_blocks", BLOCK | {"time_start": "08:00:00", "time_end": "24:30:00"}),
        ("language_blocks", BLOCK | {"time_start": "8:00:00", "time_end": "09:00:00"}),
        ("language_blocks", BLOCK | {"time_start": "08:00:00", "time_end": "10:00:00"}),
        ("language_blocks", BLOCK | {"day_of_week": "Monday", "time_start": "08:00:00", "time_end": "09:30:00"}),
        ("language_blocks", BLOCK | {"time_start": "08:00:00", "time_end": "09:30:00", "day_part": "Dawn"}),
        (
            "programming_schedules",
            SCHEDULE | {"effective_start_date": "2025-06-01", "effective_end_date": "2025-06-01"},
        ),
        (
            "programming_schedules",
            SCHEDULE | {"schedule_name": "Standard Grid", "effective_start_date": "2025-01-01"},
        ),
        (
            "schedule_market_assignments",
            {"schedule_id": 1, "market_id": 1, "effective_start_date": "2025-01-01"},
        ),
        ("schedule_collision_log", {"collision_type": "overlap", "severity": "error"}),
        ("schedule_collision_log", {"collision_type": "schedule_gap", "severity": "fatal"}),
        (
            "schedule_collision_log",
            {"collision_type": "schedule_gap", "severity": "info", "resolution_status": "open"},
        ),
        (
            "spot_language_assignments",
            {"spot_id": 1, "language_code": "M", "language_status": "sure", "confidence": 1, "assignment_method": "x"},
        ),
        (
            "spot_language_assignments",
            {
                "spot_id": 9,
                "language_code": "M",
                "language_status": "default",
                "confidence": 1,
                "assignment_method": "x",
            },
        ),
        ("spot_language_blocks", GRID_ROW | {"customer_intent": "unknown"}),
        ("spot_language_blocks", GRID_ROW | {"assignment_method": "guessed"}),
        ("spot_language_blocks", GRID_ROW | {"block_id": None}),
        ("spot_language_blocks", GRID_ROW | {"spans_multiple_blocks": 1, "blocks_spanned": "[1, 2]"}),
        ("spot_language_blocks", GRID_ROW | {"spans_multiple_blocks": 1, "block_id": None}),
        (
            "spot_language_blocks",
            GRID_ROW | {"spans_multiple_blocks": 1, "block_id": None, "blocks_spanned": '{"a": 1}'},
        ),
    ],
    ids=str,
)
def test_a_row_that_breaks_the_contract_is_refused(db: sqlite3.Connection, table: str, bad: dict[str, Any]) -> None:
    insert(db, "import_batches", batch_id="b0", import_mode="MANUAL", status="RUNNING")
    spot(db)
    before = list(db.iterdump())
    with pytest.raises(sqlite3.IntegrityError):
        insert(db, table, **bad)
    assert list(db.iterdump()) == before


@pytest.mark.parametrize(
    "good",
    [
        GRID_ROW,
        GRID_ROW | {"block_id": None, "spans_multiple_blocks": 1, "blocks_spanned": "[]"},
        GRID_ROW | {"block_id": None, "schedule_id": None, "customer_intent": "no_grid_coverage"},
    ],
    ids=["one block", "several blocks", "no grid"],
)
def test_the_three_shapes_of_a_grid_row_are_accepted(db: sqlite3.Connection, good: dict[str, Any]) -> None:
    spot(db)
    insert(db, "spot_language_blocks", **good)
    assert rows(db, "SELECT count(*) FROM spot_language_blocks") == [(1,)]


def test_the_indexes_of_the_contract_exist(db: sqlite3.Connection) -> None:
    listed = rows(
        db,
        "SELECT group_concat(c.name), i.partial FROM pragma_index_list('spots') AS i, pragma_index_info(i.name) AS c "
        "GROUP BY i.name ORDER BY 1",
    )
    assert listed == [
        ("air_date", 0),
        ("broadcast_month", 0),
        ("broadcast_month,is_historical", 0),
        ("broadcast_month,market_id,revenue_type", 1),
        ("broadcast_month,sales_person", 0),
        ("customer_id", 0),
        ("customer_id,air_date,revenue_type", 0),
        ("import_batch_id", 0),
        ("market_id,day_of_week,time_in,time_out", 0),
        ("sales_person", 0),
        ("spot_category", 1),
    ]


# --- reference data -------------------------------------------------------------------------------------------------


def test_the_seeded_languages_markets_and_schedules_are_those_of_the_contract(db: sqlite3.Connection) -> None:
    """3.4."""
    assert rows(db, "SELECT * FROM languages") == [
        (1, "E", "English", "English"),
        (2, "M", "Mandarin", "Chinese"),
        (3, "C", "Cantonese", "Chinese"),
        (4, "T", "Tagalog", "Filipino"),
        (5, "Hm", "Hmong", "Hmong"),
        (6, "SA", "South Asian", "South Asian"),
        (7, "V", "Vietnamese", "Vietnamese"),
        (8, "K", "Korean", "Korean"),
        (9, "J", "Japanese", "Japanese"),
        (10, "M/C", "Mandarin/Cantonese", "Chinese"),
        (11, "P", "Punjabi", "South Asian"),
    ]
    assert rows(db, "SELECT market_id, market_code, market_name, region, is_active FROM markets") == [
        (1, "NYC", "NEW YORK", "Northeast", 1),
        (2, "CVC", "Central Valley", "West", 1),
        (3, "SFO", "SAN FRANCISCO", "West", 1),
        (4, "CMP", "CHI MSP", "Midwest", 1),
        (5, "HOU", "HOUSTON", "South", 1),
        (6, "LAX", "LOS ANGELES", "West", 1),
        (7, "SEA", "SEATTLE", "West", 1),
        (8, "DAL", "DALLAS", "South", 1),
    ]
    assert rows(
        db,
        "SELECT schedule_id, schedule_name, schedule_version, schedule_type, effective_start_date, effective_end_date, "
        "is_active FROM programming_schedules",
    ) == [
        (1, "Standard Grid", "2025-v1.0", "standard", "2025-01-01", None, 1),
        (2, "Dallas Grid", "2025-v1.0", "market_specific", "2025-01-01", None, 1),
    ]
    assert rows(
        db,
        "SELECT m.market_code, a.schedule_id, a.effective_start_date, a.effective_end_date, a.assignment_priority, "
        "a.created_by FROM schedule_market_assignments AS a JOIN markets AS m USING (market_id) ORDER BY assignment_id",
    ) == [
        (code, schedule, "2025-01-01", None, 1, "system")
        for code, schedule in [*((code, 1) for code in ("NYC", "CVC", "SFO", "CMP", "HOU", "LAX", "SEA")), ("DAL", 2)]
    ]
    assert rows(db, "SELECT count(*) FROM schedule_collision_log") == [(0,)]


def test_the_seeded_sectors_are_those_of_the_contract(db: sqlite3.Connection) -> None:
    """3.4; number 19 is unused."""
    assert rows(db, "SELECT sector_id, sector_code, sector_name, sector_group FROM sectors") == [
        (1, "AUTO", "Automotive", "Commercial"),
        (2, "CPG", "Consumer Packaged Goods", "Commercial"),
        (3, "INS", "Insurance", "Financial"),
        (4, "OUTR", "General Outreach", "Outreach"),
        (5, "TECH", "Technology", "Commercial"),
        (6, "FIN", "Financial Services", "Financial"),
        (7, "HEALTH", "Healthcare", "Healthcare"),
        (8, "RETAIL", "Retail", "Commercial"),
        (9, "TELCO", "Telecommunications", "Commercial"),
        (10, "MEDIA", "Media & Entertainment", "Commercial"),
        (11, "GOV", "Government", "Outreach"),
        (12, "EDU", "Education", "Outreach"),
        (13, "NPO", "Non-Profit", "Outreach"),
        (14, "OTHER", "Other", "Other"),
        (15, "CASINO", "Casino", "Commercial"),
        (16, "POLITICAL", "Political", "Political"),
        (17, "RESTAURANT", "Restaurant", "Commercial"),
        (18, "POLITICAL-OUTREACH", "Political Outreach", "Outreach"),
        (20, "TRAVEL", "Travel", "Commercial"),
        (21, "UTILITY", "Utility", "Other"),
    ]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("new york", "NYC"),
        ("CENTRAL VALLEY", "CVC"),
        ("San Francisco", "SFO"),
        ("chi msp", "CMP"),
        ("Houston", "HOU"),
        ("Los Angeles", "LAX"),
        ("SEATTLE", "SEA"),
        ("DALLAS", "DAL"),
        ("Admin", "ADMIN"),
        ("ADMINISTRATIVE", "ADMIN"),
        ("CHICAGO", "CHI"),
        ("Minneapolis", "MSP"),
        ("WASHINGTON DC", "WDC"),
        ("MAMMOTH", "MMT"),
    ],
)
def test_market_aliases_match_whatever_the_case(db: sqlite3.Connection, written: str, code: str) -> None:
    assert db.execute("SELECT market_code FROM market_aliases WHERE alias = ?", (written,)).fetchall() == [(code,)]


def day_of(db: sqlite3.Connection, schedule_id: int, day: str) -> list[str]:
    found = db.execute(
        "SELECT b.display_order, b.time_start, b.time_end, l.language_code, b.block_name, b.block_type, b.day_part "
        "FROM language_blocks AS b JOIN languages AS l USING (language_id) "
        "WHERE schedule_id = ? AND day_of_week = ? ORDER BY display_order",
        (schedule_id, day),
    ).fetchall()
    return [f"{n} {a[:5]}-{b[:5]} {code} {name} {kind}/{part}" for n, a, b, code, name, kind, part in found]


STANDARD_WEEKDAY = """\
1 00:00-06:00 E English Shopping Block Shopping/Overnight
2 06:00-08:00 M Mandarin Morning Block News/Early Morning
3 08:00-10:00 K Korean Morning Block News/Morning
4 10:00-11:00 J Japanese Morning Block General/Morning
5 11:00-13:00 V Vietnamese Midday Block General/Midday
6 13:00-16:00 SA South Asian Afternoon Block General/Afternoon
7 16:00-18:00 T Filipino Afternoon Block General/Afternoon
8 18:00-19:00 T Filipino Extended Block General/Early Evening
9 19:00-20:00 C Cantonese Evening Block General/Early Evening
10 20:00-23:30 M Mandarin Prime Block Prime/Prime
11 23:30-24:00 C Cantonese Late Night Block General/Late Night"""
STANDARD_SATURDAY = """\
1 00:00-06:00 E English Shopping Block Shopping/Overnight
2 08:00-10:00 K Korean Morning Block News/Morning
3 10:00-11:00 J Japanese Morning Block General/Morning
4 11:00-13:00 V Vietnamese Midday Block General/Midday
5 13:00-16:00 SA South Asian Afternoon Block General/Afternoon
6 16:00-18:00 T Filipino Afternoon Block General/Afternoon
7 18:00-20:00 Hm The Hmong Entertainment Hour General/Early Evening
8 20:00-23:30 M Mandarin Prime Block Prime/Prime
9 23:30-24:00 C Cantonese Late Night Block General/Late Night"""
STANDARD_SUNDAY = """\
1 00:00-06:00 E English Shopping Block Shopping/Overnight
2 06:00-06:30 E English Religious Programming Religious/Early Morning
3 06:00-08:00 M Mandarin Weekend Morning News/Morning
4 06:30-08:00 M Mandarin Morning Block General/Early Morning
5 08:00-10:00 K Korean Morning Block News/Morning
6 10:00-11:00 J Japanese Morning Block General/Morning
7 11:00-13:00 V Vietnamese Midday Block General/Midday
8 13:00-16:00 SA South Asian Afternoon Block General/Afternoon
9 16:00-18:00 T Filipino Afternoon Block General/Afternoon
10 18:00-20:00 Hm The Hmong Entertainment Hour General/Early Evening
11 20:00-23:30 M Mandarin Prime Block Prime/Prime
12 23:30-24:00 C Cantonese Late Night Block General/Late Night"""
DALLAS_WEEKDAY = """\
1 00:00-01:00 M Mandarin Late Night Block General/Late Night
2 01:00-02:00 C Cantonese Late Night Block General/Late Night
3 02:00-03:00 M Primetime News Late News/Overnight
4 03:00-04:00 M Mandarin Overnight Block 1 General/Overnight
5 04:00-05:00 M Mandarin Overnight Block 2 General/Overnight
6 05:00-06:00 M Mandarin Overnight Block 3 General/Overnight
7 06:00-07:00 M Phoenix Evening Express News/Early Morning
8 07:00-08:00 M The Starry Love Drama/Early Morning
9 08:00-09:00 M Mandarin Morning Variety Variety/Morning
10 09:00-10:00 M Mandarin Morning Block General/Morning
11 11:00-12:00 K Korean Midday Block General/Morning
12 12:00-13:00 E Marketplace General/Midday
13 13:00-14:00 M Mandarin Afternoon Block General/Afternoon
14 14:00-15:00 M Primetime News News/Afternoon
15 15:00-16:00 M Mandarin Afternoon Block 2 General/Afternoon
16 16:00-17:00 M Mandarin Children Block Children/Afternoon
17 17:00-18:00 C Cantonese Evening Block General/Early Evening
18 20:00-21:00 M The Starry Love Drama/Prime
19 21:00-22:00 M Mandarin Prime Block 1 Prime/Prime
20 22:00-23:00 M Mandarin Prime Block 2 Prime/Prime
21 23:00-24:00 K Korean Late Night Block General/Late Night"""
DALLAS_WEEKEND_EVENING = [
    "17 17:00-18:00 C Cantonese Evening Block General/Early Evening",
    "18 18:00-19:00 C Cantonese News Block News/Early Evening",
    "19 19:00-20:00 M Phoenix Evening Express News/Early Evening",
    "20 20:00-21:00 M The Starry Love Drama/Prime",
]


@pytest.mark.parametrize("day", ["monday", "tuesday", "wednesday", "thursday", "friday"])
def test_the_programme_grids_of_a_weekday(db: sqlite3.Connection, day: str) -> None:
    """3.4."""
    assert day_of(db, 1, day) == STANDARD_WEEKDAY.splitlines()
    assert day_of(db, 2, day) == DALLAS_WEEKDAY.splitlines()


def test_the_programme_grids_of_the_weekend(db: sqlite3.Connection) -> None:
    """3.4: blocks overlap on Sunday mornings; Dallas adds two blocks to those of a weekday."""
    assert day_of(db, 1, "saturday") == STANDARD_SATURDAY.splitlines()
    assert day_of(db, 1, "sunday") == STANDARD_SUNDAY.splitlines()
    for day in ("saturday", "sunday"):
        assert day_of(db, 2, day)[16:20] == DALLAS_WEEKEND_EVENING
        without_numbers = [line.split(" ", 1)[1] for line in day_of(db, 2, day)]
        del without_numbers[17:19]
        assert without_numbers == [line.split(" ", 1)[1] for line in DALLAS_WEEKDAY.splitlines()]


# --- views ----------------------------------------------------------------------------------------------------------


def _assign(db: sqlite3.Connection, spot_id: int, code: str, status: str, method: str, review: int) -> None:
    insert(
        db,
        "spot_language_assignments",
        spot_id=spot_id,
        language_code=code,
        language_status=status,
        confidence=1.0,
        assignment_method=method,
        requires_review=review,
        notes=f"note {spot_id}",
    )


def test_the_reporting_view_shows_every_spot_once_with_its_names(db: sqlite3.Connection) -> None:
    """4.3; CHI is reported under the name of CMP (3.4)."""
    insert(db, "agencies", agency_name="North Media")
    insert(db, "customers", normalized_name="Blue Farms", sector_id=1, agency_id=1)
    insert(db, "markets", market_id=9, market_code="CHI", market_name="CHICAGO")
    insert(
        db,
        "import_batches",
        batch_id="b1",
        import_mode="HISTORICAL",
        import_date="2025-10-01 08:00:00",
        status="COMPLETED",
        started_by="ana",
    )
    insert(db, "month_closures", broadcast_month="Sep-25", closed_date="2025-10-15", closed_by="ana")
    spot(
        db,
        bill_code="North Media:Blue Farms",
        gross_rate=85.0,
        station_net=72.25,
        sales_person="House",
        revenue_type="Internal Ad Sales",
        customer_id=1,
        agency_id=1,
        market_id=9,
        language_id=7,
        is_historical=1,
        import_batch_id="b1",
    )
    spot(db, broadcast_month="Oct-25", market_id=3)
    cursor = db.execute("SELECT * FROM spots_reporting ORDER BY spot_id")
    columns = (
        "spot_id bill_code air_date gross_rate station_net sales_person revenue_type broadcast_month is_historical "
        "import_batch_id customer_name sector_code sector_name agency_name market_code market_display_name region "
        "language_code language_name import_mode import_date started_by closed_date closed_by"
    )
    assert [column[0] for column in cursor.description] == columns.split()
    first = (1, "North Media:Blue Farms", "2025-08-28", 85.0, 72.25, "House", "Internal Ad Sales", "Sep-25", 1, "b1")
    second = (2, "Blue Farms", "2025-08-28", None, None, None, None, "Oct-25", 0, None)
    assert cursor.fetchall() == [
        (
            *first,
            *("Blue Farms", "AUTO", "Automotive", "North Media", "CHI", "CHI MSP", None, "V", "Vietnamese"),
            *("HISTORICAL", "2025-10-01 08:00:00", "ana", "2025-10-15", "ana"),
        ),
        (*second, *(None, None, None, None, "SFO", "SAN FRANCISCO", "West"), *(None,) * 7),
    ]


def test_months_are_listed_in_calendar_order(db: sqlite3.Connection) -> None:
    """4.3: Apr sorts before Jan and Dec-24 after Dec-23 only by date."""
    for month in ("Apr-25", "Jan-25", "Dec-24", "Feb-25", "Aug-09"):
        spot(db, broadcast_month=month)
    assert rows(db, "SELECT broadcast_month, month_start_date FROM v_month_status") == [
        ("Aug-09", "2009-08-01"),
        ("Dec-24", "2024-12-01"),
        ("Jan-25", "2025-01-01"),
        ("Feb-25", "2025-02-01"),
        ("Apr-25", "2025-04-01"),
    ]


def test_the_month_status_counts_sums_and_tells_closed_months(db: sqlite3.Connection) -> None:
    insert(db, "customers", normalized_name="Blue Farms")
    insert(db, "customers", normalized_name="Red Barn")
    insert(db, "month_closures", broadcast_month="Aug-25", closed_date="2025-09-15", closed_by="ana")
    insert(db, "month_closures", broadcast_month="Jul-25", closed_date="2025-08-15", closed_by="ana")
    spot(db, broadcast_month="Aug-25", gross_rate=10.5, station_net=8.0, customer_id=1, load_date="2025-09-01 08:30:01")
    spot(db, broadcast_month="Aug-25", gross_rate=-0.5, customer_id=1, load_date="2025-09-02 08:30:01")
    spot(db, broadcast_month="Aug-25", customer_id=2, load_date="2025-08-30 08:30:01")
    spot(db, broadcast_month="Sep-25", load_date="2025-09-02 08:30:01")
    assert rows(db, "SELECT * FROM v_month_status") == [
        ("Jul-25", "2025-07-01", 0, 0.0, 0.0, 0, "closed", "2025-08-15", "ana", None),
        ("Aug-25", "2025-08-01", 3, 10.0, 8.0, 2, "closed", "2025-09-15", "ana", "2025-09-02 08:30:01"),
        ("Sep-25", "2025-09-01", 1, 0.0, 0.0, 0, "open", None, None, "2025-09-02 08:30:01"),
    ]


def test_the_language_status_counts_what_is_missing(db: sqlite3.Connection) -> None:
    spot(db)
    spot(db, spot_category="default_english", gross_rate=5.0)
    for gross_rate in (10.0, 20.0):
        spot(db, spot_category="review_category", gross_rate=gross_rate)
    _assign(db, 3, "E", "default", "business_review_required", 1)
    _assign(db, 4, "E", "default", "business_review_required", 1)
    assert rows(db, "SELECT * FROM v_language_status") == [
        (None, None, None, 1, 0.0, 0, 1, 1),
        ("default_english", None, None, 1, 5.0, 0, 0, 1),
        ("review_category", "business_review_required", "default", 2, 30.0, 2, 0, 0),
    ]


def test_the_review_queue_lists_the_dearest_spot_first(db: sqlite3.Connection) -> None:
    for spot_id, (gross_rate, review) in enumerate([(None, 1), (50.0, 1), (900.0, 1), (50.0, 1), (999.0, 0)], start=1):
        spot(db, gross_rate=gross_rate, language_code="L", spot_type="COM", revenue_type="Local")
        _assign(db, spot_id, "L", "undetermined", "undetermined_flagged", review)
    assert rows(db, "SELECT * FROM v_review_queue") == [
        (spot_id, "Blue Farms", "Sep-25", "Local", "COM", "L", "L", "undetermined_flagged", gross_rate, note)
        for spot_id, gross_rate, note in [
            (3, 900.0, "note 3"),
            (2, 50.0, "note 2"),
            (4, 50.0, "note 4"),
            (1, None, "note 1"),
        ]
    ]


def test_unresolved_bill_codes_are_summed(db: sqlite3.Connection) -> None:
    insert(db, "customers", normalized_name="Blue Farms")
    spot(db, customer_id=1, gross_rate=500.0)
    spot(db, bill_code="Who:Knows", gross_rate=20.0)
    spot(db, bill_code="Who:Knows")
    spot(db, bill_code="Nobody", gross_rate=30.0)
    assert rows(db, "SELECT * FROM v_unresolved_bill_codes") == [("Nobody", 1, 30.0), ("Who:Knows", 2, 20.0)]


def test_an_assignment_that_overlaps_another_of_its_market_is_logged(db: sqlite3.Connection) -> None:
    """4.1 schedule_collision_log and its view."""
    insert(db, "markets", market_id=9, market_code="PHX", market_name="PHX")
    for schedule_id, start, end in [
        (1, "2025-01-01", "2025-06-30"),
        (2, "2025-07-01", None),
        (1, "2025-06-15", "2025-07-31"),
    ]:
        insert(
            db,
            "schedule_market_assignments",
            schedule_id=schedule_id,
            market_id=9,
            effective_start_date=start,
            effective_end_date=end,
        )
    same = ("market_overlap", "error", "PHX", "PHX")
    assert rows(
        db,
        "SELECT collision_type, severity, market_code, market_name, schedule_name_1, schedule_name_2, "
        "conflict_start_date, conflict_end_date, description, resolution_status FROM v_schedule_collisions",
    ) == [
        (*same, "Dallas Grid", "Standard Grid", "2025-07-01", "2025-07-31", OVERLAP.format(10), "unresolved"),
        (*same, "Standard Grid", "Standard Grid", "2025-06-15", "2025-06-30", OVERLAP.format(9), "unresolved"),
    ]


OVERLAP = "assignment 11 overlaps assignment {}"
