"""The places backups go to, over their real protocols and with what goes wrong there (R49, R50, section 6)."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from include.commercial_log.backup import back_up_database, list_backups, restore_database
from include.commercial_log.config import ZONE, DataRoot, Settings
from include.commercial_log.database import open_database
from include.common.objectstores import MIB, DropboxStore, FolderStore, ObjectStore, S3Store
from include.common.sql import transaction
from include.errors import (
    CheckFailed,
    ContractViolation,
    CredentialRefused,
    PipelineError,
    RateLimited,
    SourceMissing,
    SourceUnavailable,
    StoreFull,
)
from sandbox.servers.dropbox import DropboxServer
from sandbox.servers.faults import FaultProxy
from sandbox.servers.s3 import S3Server

BUCKET = "station-backups"
PART = 5 * MIB  # the smallest S3 allows


@dataclass
class Dropbox:
    """A Dropbox, the way to it, and a store that notes how long it would have waited."""

    server: DropboxServer
    proxy: FaultProxy
    app: dict[str, Any]
    store: DropboxStore
    waits: list[float]
    on_wait: list[Callable[[], None]]  # what happens during the waits, in that order

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.server.root)) for path in self.server.root.rglob("*.*"))


@pytest.fixture
def dropbox(tmp_path: Path) -> Iterator[Dropbox]:
    (tmp_path / "dropbox").mkdir()
    app: dict[str, Any] = {name: secrets.token_hex(8) for name in ("app_key", "app_secret", "refresh_token")}
    with (
        DropboxServer(tmp_path / "dropbox", **app) as server,
        FaultProxy(server.port) as proxy,
        httpx.Client(timeout=60) as client,
    ):
        waits: list[float] = []
        on_wait: list[Callable[[], None]] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if on_wait:
                on_wait.pop(0)()

        url = f"http://127.0.0.1:{proxy.port}"
        store = DropboxStore(
            client, **app, folder="/backups/", sleep=sleep, part_bytes=PART, api_url=url, content_url=url
        )
        yield Dropbox(server, proxy, app, store, waits, on_wait)


@dataclass
class S3:
    server: S3Server
    proxy: FaultProxy
    store: S3Store


@pytest.fixture
def s3() -> Iterator[S3]:
    with S3Server() as server, FaultProxy(server.port) as proxy:
        server.create_bucket(BUCKET)
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{proxy.port}",
            region_name="us-east-1",
            aws_access_key_id="sandbox",
            aws_secret_access_key=secrets.token_hex(8),
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=60, read_timeout=60),
        )
        with closing(client):
            yield S3(server, proxy, S3Store(client, BUCKET, "/backups/", part_bytes=PART))
        server.reset()


@pytest.fixture(params=["folder", "s3", "dropbox"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        (tmp_path / "mounted").mkdir()
        return FolderStore(tmp_path / "mounted")
    found: ObjectStore = request.getfixturevalue(request.param).store
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two whole parts and a bit."""
    path = tmp_path / "snapshot.db"
    path.write_bytes(os.urandom(2 * PART + 77))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.db"
    path.write_bytes(b"all of it")
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "fetched" / "target.db"


# --- what all of them do --------------------------------------------------------------------------------------------


def test_a_large_file_comes_back_as_it_was(store: ObjectStore, source: Path, target: Path) -> None:
    """R49: in parts."""
    store.put(source, "a.db")
    assert store.names() == ["a.db"]
    store.fetch("a.db", target)
    assert target.read_bytes() == source.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["target.db"]


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1])
def test_sizes_around_one_part_come_back_as_they_were(
    store: ObjectStore, tmp_path: Path, target: Path, size: int
) -> None:
    path = tmp_path / "sized.db"
    path.write_bytes(os.urandom(size))
    store.put(path, "a.db")
    store.fetch("a.db", target)
    assert target.read_bytes() == path.read_bytes()


def test_a_new_store_is_empty(store: ObjectStore) -> None:
    assert store.names() == []


def test_more_names_than_fit_a_page_are_listed_in_order(store: ObjectStore, small: Path) -> None:
    names = [f"database {number} ü.db" for number in (3, 1, 4, 2, 8, 7, 5)]
    for name in names:
        store.put(small, name)
    assert store.names() == sorted(names)


def test_a_name_that_is_taken_is_replaced(store: ObjectStore, source: Path, small: Path, target: Path) -> None:
    store.put(source, "a.db")
    store.put(small, "a.db")
    store.put(small, "a.db")
    assert store.names() == ["a.db"]
    store.fetch("a.db", target)
    assert target.read_bytes() == b"all of it"


def test_deleting_removes_one_object_and_a_missing_one_is_no_error(store: ObjectStore, small: Path) -> None:
    store.put(small, "a.db")
    store.put(small, "b.db")
    store.delete("a.db")
    store.delete("a.db")
    assert store.names() == ["b.db"]


def test_what_is_not_there_is_named_and_nothing_is_fetched(store: ObjectStore, small: Path, target: Path) -> None:
    store.put(small, "b.db")
    with pytest.raises(SourceMissing, match=r"a\.db.*Choose one of the names|names it lists"):
        store.fetch("a.db", target)
    assert list(target.parent.iterdir()) == []


def test_objects_of_other_folders_are_not_listed(s3: S3, dropbox: Dropbox, small: Path) -> None:
    client = s3.store.client
    for key in ("a.db", "backups/sub/a.db", "backups-old/a.db", "backups/"):
        client.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    for folder in ("", "backups/sub", "backups-old"):
        (dropbox.server.root / folder).mkdir(parents=True, exist_ok=True)
        (dropbox.server.root / folder / "a.db").write_bytes(b"x")
    for store in (s3.store, dropbox.store):
        store.put(small, "mine.db")
        assert store.names() == ["mine.db"]


def test_operators_see_where_objects_go(s3: S3, dropbox: Dropbox) -> None:
    assert (s3.store.where, dropbox.store.where) == ("s3://station-backups/backups", "Dropbox:/backups")
    assert S3Store(None, BUCKET, "").where == "s3://station-backups"


# --- a backup and its way back ---------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "live" / "production.db"
    with closing(open_database(path, create=True)) as db, transaction(db):
        db.executemany(
            "INSERT INTO spots (bill_code, air_date, broadcast_month) VALUES (?, '2025-08-28', 'Sep-25')",
            [(f"Customer {n}",) for n in range(300)],
        )
    return path


NIGHT = datetime(2025, 9, 2, 2, 5, tzinfo=ZONE)


def back_up(database: Path, store: ObjectStore, data: DataRoot, now: datetime, keep: int = 7) -> None:
    settings = Settings(keep_backups=keep)
    back_up_database(database, store, data, day=date(2025, 9, 2), now=now, settings=settings)


def content(database: Path) -> list[str]:
    with closing(open_database(database)) as db:
        return list(db.iterdump())


def test_ten_nights_keep_seven_backups_and_the_newest_comes_back(
    store: ObjectStore, database: Path, tmp_path: Path
) -> None:
    """R49, R50."""
    data = DataRoot(tmp_path / "data")
    data.root.mkdir()
    for night in range(10):
        back_up(database, store, data, NIGHT + timedelta(days=night))
    assert list_backups(store) == [f"database_backup_202509{day:02}_020500.db" for day in range(11, 4, -1)]
    saved = content(database)
    with closing(open_database(database)) as db, transaction(db):
        db.execute("DELETE FROM spots")
    restore_database(database, store, data, confirm=True, now=NIGHT + timedelta(days=10), day=date(2025, 9, 12))
    assert content(database) == saved


# --- Dropbox --------------------------------------------------------------------------------------------------------


def dropbox_error(summary: str) -> str:
    return json.dumps({"error_summary": f"{summary}/..", "error": {".tag": summary.partition("/")[0]}})


def test_a_hash_mismatch_fails_removes_the_upload_and_deletes_no_backup(
    dropbox: Dropbox, database: Path, tmp_path: Path
) -> None:
    """R50, section 6."""
    data = DataRoot(tmp_path / "data")
    data.root.mkdir()
    for night in range(3):
        back_up(database, dropbox.store, data, NIGHT + timedelta(days=night))
    before = list_backups(dropbox.store)
    dropbox.server.fail_next(200, body=json.dumps({"content_hash": "0" * 64}), path="/2/files/get_metadata")
    with pytest.raises(CheckFailed, match=r"Dropbox:/backups/database_backup_20250905_020500\.db: what arrived is not"):
        back_up(database, dropbox.store, data, NIGHT + timedelta(days=3), keep=1)
    assert list_backups(dropbox.store) == before
    assert sorted(path.name for path in data.root.iterdir()) == ["locks", "logs"]


def test_dropbox_asking_to_wait_is_waited_for(dropbox: Dropbox, source: Path, target: Path) -> None:
    """Section 6: Retry-After in seconds, as a date, and without one."""
    append = "/2/files/upload_session/append_v2"
    in_four_minutes = format_datetime(datetime.now(UTC) + timedelta(minutes=4), usegmt=True)
    dropbox.server.fail_next(429, headers={"Retry-After": "7"}, path=append)
    dropbox.server.fail_next(429, headers={"Retry-After": in_four_minutes}, path=append)
    dropbox.server.fail_next(429, path=append)
    dropbox.server.fail_next(503, headers={"Retry-After": "11"}, path=append)
    dropbox.store.put(source, "a.db")
    assert dropbox.waits == [7.0, pytest.approx(240, abs=120), 60.0, 11.0]
    dropbox.store.fetch("a.db", target)
    assert target.read_bytes() == source.read_bytes()


def test_dropbox_asking_for_more_than_five_minutes_ends_the_attempt_with_that_wait(
    dropbox: Dropbox, small: Path
) -> None:
    dropbox.server.fail_next(429, headers={"Retry-After": "301"}, path="/2/files/upload_session/finish")
    with pytest.raises(
        RateLimited, match=r"storing a\.db: answered 429 Too Many Requests and asked to wait 301 s"
    ) as late:
        dropbox.store.put(small, "a.db")
    assert late.value.retry_after == 301.0
    assert dropbox.waits == []
    assert dropbox.files() == []


def test_a_server_error_is_tried_five_times(dropbox: Dropbox, small: Path) -> None:
    dropbox.server.fail_next(500, times=4, path="/2/files/upload_session/start")
    dropbox.store.put(small, "a.db")
    assert dropbox.waits == [2.0, 4.0, 8.0, 16.0]
    assert dropbox.store.names() == ["a.db"]


def test_a_fifth_server_error_is_the_last(dropbox: Dropbox, small: Path) -> None:
    dropbox.server.fail_next(502, times=5, path="/2/files/upload_session/finish")
    with pytest.raises(SourceUnavailable, match=r"Dropbox:/backups: storing a\.db: answered 502 Bad Gateway"):
        dropbox.store.put(small, "a.db")
    assert dropbox.waits == [2.0, 4.0, 8.0, 16.0]
    assert dropbox.files() == []


@pytest.mark.parametrize(
    ("status", "body"), [(401, dropbox_error("invalid_access_token")), (403, ""), (401, "no JSON")]
)
def test_refused_access_fails_at_once(dropbox: Dropbox, small: Path, status: int, body: str) -> None:
    """Section 6."""
    dropbox.server.fail_next(status, body=body, path="/2/files/.*")
    with pytest.raises(CredentialRefused, match=f"Dropbox:/backups: storing a.db: refused with {status}"):
        dropbox.store.put(small, "a.db")
    assert (dropbox.waits, dropbox.files()) == ([], [])


@pytest.mark.parametrize("wrong", ["app_key", "app_secret", "refresh_token"])
def test_a_refused_login_fails_at_once_and_tells_no_secret(dropbox: Dropbox, small: Path, wrong: str) -> None:
    app = dropbox.app | {wrong: "mistyped"}
    with httpx.Client(timeout=60) as client:
        url = dropbox.server.url
        store = DropboxStore(client, **app, folder="", sleep=dropbox.waits.append, api_url=url, content_url=url)
        with pytest.raises(
            CredentialRefused, match="the app key, its secret or the refresh token was refused"
        ) as refused:
            store.put(small, "a.db")
    assert not [secret for secret in app.values() if secret in str(refused.value)]
    assert dropbox.waits == []


def test_an_expired_access_token_is_renewed_in_the_middle_of_an_upload(dropbox: Dropbox, source: Path) -> None:
    dropbox.server.fail_next(503, path="/2/files/upload_session/append_v2")
    dropbox.on_wait.append(dropbox.server.expire_tokens)
    dropbox.store.put(source, "a.db")
    assert dropbox.store.names() == ["a.db"]


def test_an_access_token_that_is_expired_again_at_once_is_refused(dropbox: Dropbox, small: Path) -> None:
    dropbox.server.fail_next(401, times=2, body=dropbox_error("expired_access_token"), path="/2/files/.*")
    with pytest.raises(CredentialRefused):
        dropbox.store.put(small, "a.db")
    assert dropbox.files() == []


def test_a_connection_lost_in_the_middle_of_an_upload_for_good_leaves_nothing_to_see(
    dropbox: Dropbox, source: Path
) -> None:
    """Section 6: a partial upload session is never visible as a backup."""
    dropbox.server.fail_next(503, path="/2/files/upload_session/append_v2")
    dropbox.on_wait.append(dropbox.proxy.refuse)
    with pytest.raises(SourceUnavailable, match=r"storing a\.db: no complete answer"):
        dropbox.store.put(source, "a.db")
    assert len(dropbox.waits) == 4
    assert dropbox.files() == []
    dropbox.proxy.heal()
    assert dropbox.store.names() == []
    dropbox.store.put(source, "a.db")
    assert dropbox.store.names() == ["a.db"]


@pytest.mark.parametrize("call", ["start", "append_v2", "finish"])
def test_a_call_that_arrived_but_whose_answer_was_lost_does_not_spoil_the_upload(
    dropbox: Dropbox, source: Path, target: Path, call: str
) -> None:
    """The 503 only marks the moment; then the call goes through and the connection is reset before its answer."""
    dropbox.server.fail_next(503, path=f"/2/files/upload_session/{call}")
    dropbox.on_wait += [lambda: dropbox.proxy.reset_after(0), dropbox.proxy.heal]
    dropbox.store.put(source, "a.db")
    assert len(dropbox.waits) == 2
    assert dropbox.files() == ["backups/a.db"]
    dropbox.store.fetch("a.db", target)
    assert target.read_bytes() == source.read_bytes()


def test_a_server_that_falls_silent_counts_as_a_failed_attempt(dropbox: Dropbox, small: Path) -> None:
    url = f"http://127.0.0.1:{dropbox.proxy.port}"
    dropbox.proxy.hang()
    with httpx.Client(timeout=httpx.Timeout(60, read=0.05)) as client:
        store = DropboxStore(client, **dropbox.app, folder="", sleep=dropbox.waits.append, api_url=url, content_url=url)
        with pytest.raises(SourceUnavailable, match=r"Dropbox: login: no complete answer \(ReadTimeout"):
            store.put(small, "a.db")
    assert len(dropbox.waits) == 4


@pytest.mark.parametrize(
    ("call", "summary", "kind"),
    [
        ("start", "concurrent_session_data_not_allowed", ContractViolation),
        ("finish", "path/insufficient_space", StoreFull),
        ("finish", "path/no_write_permission", ContractViolation),
        ("finish", "lookup_failed/not_found", SourceUnavailable),
        ("append_v2", "not_found", SourceUnavailable),
    ],
)
def test_what_dropbox_refuses_says_what_to_do(
    dropbox: Dropbox, source: Path, call: str, summary: str, kind: type[PipelineError]
) -> None:
    dropbox.server.fail_next(409, body=dropbox_error(summary), path=f"/2/files/upload_session/{call}")
    with pytest.raises(kind) as refused:
        dropbox.store.put(source, "a.db")
    assert type(refused.value) is kind
    assert refused.value.what.startswith("Dropbox:/backups: storing a.db: ")
    assert dropbox.files() == []


def test_a_download_cut_short_is_fetched_again(dropbox: Dropbox, source: Path, target: Path) -> None:
    dropbox.store.put(source, "a.db")
    dropbox.proxy.truncate_after(MIB)
    dropbox.on_wait.append(dropbox.proxy.heal)
    dropbox.store.fetch("a.db", target)
    assert dropbox.waits == [2.0]
    assert target.read_bytes() == source.read_bytes()


def test_a_download_with_another_hash_is_thrown_away(dropbox: Dropbox, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"the one before")
    headers = {"Dropbox-API-Result": json.dumps({"content_hash": "0" * 64})}
    dropbox.server.fail_next(200, body="damaged", headers=headers, path="/2/files/download")
    with pytest.raises(CheckFailed, match=r"Dropbox:/backups/a\.db: what arrived is not what was sent"):
        dropbox.store.fetch("a.db", target)
    assert [path.read_bytes() for path in target.parent.iterdir()] == [b"the one before"]


# --- S3 -------------------------------------------------------------------------------------------------------------


def test_s3_keeps_the_hash_of_the_whole_and_computes_those_of_the_parts(s3: S3, source: Path) -> None:
    """R49."""
    s3.store.put(source, "a.db")
    head = s3.store.client.head_object(Bucket=BUCKET, Key="backups/a.db", ChecksumMode="ENABLED")
    assert head["Metadata"] == {"sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    assert head["ETag"].endswith('-3"')


def test_the_number_of_parts_that_amazon_adds_to_the_hash_is_no_difference(s3: S3, source: Path) -> None:
    def add_parts(parsed: dict[str, Any], **_: Any) -> None:
        parsed["ChecksumSHA256"] += "-3"

    s3.store.client.meta.events.register("after-call.s3.HeadObject", add_parts)
    s3.store.put(source, "a.db")
    assert s3.store.names() == ["a.db"]


def test_what_s3_holds_being_another_than_what_was_sent_fails_removes_it_and_deletes_no_backup(
    s3: S3, database: Path, tmp_path: Path
) -> None:
    """R50, section 6: somebody else writes under the same name before it is compared."""
    data = DataRoot(tmp_path / "data")
    data.root.mkdir()
    for night in range(3):
        back_up(database, s3.store, data, NIGHT + timedelta(days=night))
    before = list_backups(s3.store)
    with closing(s3.server.client()) as other:

        def overwrite(params: dict[str, Any], **_: Any) -> None:
            key = params["url_path"].removeprefix(f"/{BUCKET}/").removeprefix("/")
            other.put_object(Bucket=BUCKET, Key=key, Body=b"damaged", ChecksumAlgorithm="SHA256")

        s3.store.client.meta.events.register("before-call.s3.HeadObject", overwrite)
        with pytest.raises(
            CheckFailed, match=r"s3://station-backups/backups/database_backup_20250905_020500\.db: what"
        ):
            back_up(database, s3.store, data, NIGHT + timedelta(days=3), keep=1)
        s3.store.client.meta.events.unregister("before-call.s3.HeadObject", overwrite)
    assert list_backups(s3.store) == before


def test_a_connection_lost_in_the_middle_of_a_multipart_upload_leaves_nothing_to_see(s3: S3, source: Path) -> None:
    parts = itertools.count()

    def cut(**_: Any) -> None:
        if next(parts) == 1:
            s3.proxy.refuse()

    s3.store.client.meta.events.register("before-call.s3.UploadPart", cut)
    with pytest.raises(SourceUnavailable, match=r"s3://station-backups/backups: storing a\.db: no complete answer"):
        s3.store.put(source, "a.db")
    s3.proxy.heal()
    assert s3.store.names() == []


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", CredentialRefused),
        (403, "SignatureDoesNotMatch", CredentialRefused),
        (400, "ExpiredToken", CredentialRefused),
        (404, "NoSuchBucket", SourceMissing),
        (500, "InternalError", SourceUnavailable),
        (503, "SlowDown", RateLimited),
        (400, "RequestTimeout", SourceUnavailable),
        (400, "InvalidRequest", ContractViolation),
    ],
)
def test_what_s3_refuses_says_what_to_do(
    s3: S3, small: Path, status: int, code: str, kind: type[PipelineError]
) -> None:
    for action in (lambda: s3.store.put(small, "a.db"), s3.store.names, lambda: s3.store.delete("a.db")):
        s3.server.fail_next(status, body=f"<Error><Code>{code}</Code><Message>no</Message></Error>")
        with pytest.raises(kind, match=f"s3://station-backups/backups: .* refused with {status} {code}") as refused:
            action()
        assert type(refused.value) is kind
    assert s3.store.names() == []


def test_a_bucket_that_is_not_there_is_named(s3: S3, small: Path) -> None:
    store = S3Store(s3.store.client, "no-such-bucket", "backups")
    with pytest.raises(
        SourceMissing, match=r"s3://no-such-bucket/backups: storing a\.db: refused with 404 NoSuchBucket"
    ):
        store.put(small, "a.db")


def test_an_object_without_its_hash_is_not_fetched(s3: S3, target: Path) -> None:
    s3.store.client.put_object(Bucket=BUCKET, Key="backups/a.db", Body=b"who knows")
    with pytest.raises(CheckFailed, match=r"a\.db has no SHA-256 to compare it with"):
        s3.store.fetch("a.db", target)
    assert list(target.parent.iterdir()) == []


def test_an_object_changed_in_the_bucket_is_not_fetched(s3: S3, small: Path, target: Path) -> None:
    s3.store.put(small, "a.db")
    metadata = s3.store.client.head_object(Bucket=BUCKET, Key="backups/a.db")["Metadata"]
    s3.store.client.put_object(Bucket=BUCKET, Key="backups/a.db", Body=b"all of IT", Metadata=metadata)
    with pytest.raises(CheckFailed, match="what arrived is not what was sent"):
        s3.store.fetch("a.db", target)
    assert list(target.parent.iterdir()) == []
