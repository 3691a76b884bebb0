"""Where backups go: a mounted folder, an S3 bucket or a Dropbox folder, all behind the same four calls.

None of them ever shows half an object: it appears under its name when all of it has arrived. What arrived is then
compared with what was sent, by a hash the other side computed; a copy that differs is removed again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from include.common.files import atomic_write, publish, sha256_of, temporary_beside
from include.common.http import check_status, exchange
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

if TYPE_CHECKING:
    from httpx import Client, Response

MIB = 1024 * 1024
PART_BYTES = 100 * MIB
DROPBOX_BLOCK = 4 * MIB


class ObjectStore(Protocol):
    """A flat folder of objects in another place; ``where`` is how operators know it.

    Every call raises CredentialRefused, SourceUnavailable or RateLimited when the place cannot be used.
    """

    @property
    def where(self) -> str: ...

    def put(self, source: Path, name: str) -> None:
        """Store a file, in place of one of that name. Re-run: safe.

        Raises CheckFailed, with nothing stored, if something else arrived; StoreFull; SourceMissing for the place.
        """

    def names(self) -> list[str]:
        """The names of all objects, sorted."""

    def fetch(self, name: str, target: Path) -> None:
        """Bring an object back as ``target``, all of it at once.

        Raises SourceMissing if there is none, CheckFailed if something else arrived, StoreFull.
        """

    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is no error."""


@dataclass(frozen=True)
class FolderStore:
    """A mounted folder. Beside each object lies ``<name>.sha256``, as ``sha256sum -c`` reads it."""

    folder: Path

    @property
    def where(self) -> str:
        return str(self.folder)

    def put(self, source: Path, name: str) -> None:
        with self._reached():
            target = self.folder / name
            sent = sha256_of(source)
            with temporary_beside(target) as temporary:
                shutil.copyfile(source, temporary)
                _forget_cached(temporary)
                _compare(sha256_of(temporary), sent, f"{self.where}/{name}")
                with atomic_write(self._note(name)) as note:
                    note.write_text(f"{sent}  {name}\n", encoding="utf-8")
                publish(temporary, target)

    def names(self) -> list[str]:
        with self._reached():
            return sorted(
                path.name
                for path in self.folder.iterdir()
                if path.is_file() and not path.name.startswith(".") and path.suffix != ".sha256"
            )

    def fetch(self, name: str, target: Path) -> None:
        with self._reached(), atomic_write(target) as temporary:
            if not (self.folder / name).is_file():
                raise SourceMissing(f"{self.where}: there is no {name}.", next_step="Choose one of the names it lists.")
            try:
                sent = self._note(name).read_text(encoding="utf-8").split(maxsplit=1)[0]
            except (FileNotFoundError, IndexError):
                raise _without_hash(self.where, name, f"sha256sum '{name}' > '{name}.sha256'") from None
            shutil.copyfile(self.folder / name, temporary)
            _compare(sha256_of(temporary), sent, f"{self.where}/{name}")

    def delete(self, name: str) -> None:
        with self._reached():
            (self.folder / name).unlink(missing_ok=True)
            self._note(name).unlink(missing_ok=True)

    def _note(self, name: str) -> Path:
        return self.folder / f"{name}.sha256"

    @contextmanager
    def _reached(self) -> Iterator[None]:
        # Making the folder would fill the local disk whenever the real one is not mounted.
        if not self.folder.is_dir():
            raise SourceMissing(
                f"The backup folder {self.folder} is not there.",
                next_step="Mount it, or make it if it is new; then clear the task.",
            )
        try:
            yield
        except PermissionError as error:
            raise CredentialRefused(
                f"{self.where}: no permission ({error.strerror}: {error.filename}).",
                next_step="Let the service account read and write there, then clear the task.",
            ) from error
        except OSError as error:
            raise SourceUnavailable(
                f"{self.where}: broke off ({error}).",
                next_step="It is tried again. If it stays, check the mount and its server, then clear the task.",
            ) from error


@dataclass(frozen=True)
class S3Store:
    """A bucket, below a prefix, through a boto3 client, which also says how often it tries again and how long it waits.

    The SHA-256 of the whole travels as metadata; S3 itself hashes what arrives, part by part. A killed upload leaves
    invisible parts: give the bucket a lifecycle rule that ends incomplete multipart uploads.
    """

    client: Any
    bucket: str
    prefix: str
    part_bytes: int = PART_BYTES

    @property
    def where(self) -> str:
        return f"s3://{self.bucket}/{self._key('')}".rstrip("/")

    def put(self, source: Path, name: str) -> None:
        from boto3.s3.transfer import TransferConfig

        key = self._key(name)
        with _s3_errors(f"{self.where}: storing {name}"):
            self.client.upload_file(
                str(source),
                self.bucket,
                key,
                ExtraArgs={"ChecksumAlgorithm": "SHA256", "Metadata": {"sha256": sha256_of(source)}},
                Config=TransferConfig(multipart_threshold=self.part_bytes, multipart_chunksize=self.part_bytes),
            )
            arrived = self.client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        # S3 appends the number of parts, other servers do not.
        found = arrived.get("ChecksumSHA256", "no hash").partition("-")[0]
        _compare(found, self._checksum(source), f"{self.where}/{name}", remove=lambda: self.delete(name))

    def names(self) -> list[str]:
        folder = self._key("")
        with _s3_errors(f"{self.where}: listing"):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=folder, Delimiter="/"
            )
            keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        return sorted(key.removeprefix(folder) for key in keys if key != folder)

    def fetch(self, name: str, target: Path) -> None:
        key = self._key(name)
        with atomic_write(target) as temporary, _s3_errors(f"{self.where}: fetching {name}"):
            metadata = self.client.head_object(Bucket=self.bucket, Key=key)["Metadata"]
            if "sha256" not in metadata:
                address = f"{self.where}/{name}"
                raise _without_hash(
                    self.where,
                    name,
                    f"aws s3 cp --metadata sha256=HASH --metadata-directive REPLACE {address} {address}",
                )
            self.client.download_file(self.bucket, key, str(temporary))
            _compare(sha256_of(temporary), metadata["sha256"], f"{self.where}/{name}")

    def delete(self, name: str) -> None:
        with _s3_errors(f"{self.where}: deleting {name}"):
            self.client.delete_object(Bucket=self.bucket, Key=self._key(name))

    def _key(self, name: str) -> str:
        return f"{self.prefix.strip('/')}/{name}".lstrip("/")

    def _checksum(self, source: Path) -> str:
        """What S3 computes: the hash of a file sent in one, the hash of the hashes of one sent in parts."""
        if source.stat().st_size < self.part_bytes:
            return base64.b64encode(bytes.fromhex(sha256_of(source))).decode()
        return base64.b64encode(_hash_of_hashes(source, self.part_bytes)).decode()


class DropboxStore:
    """A folder of a Dropbox app, through HTTP API v2 by an httpx client.

    Files travel in an upload session, which is nothing to anybody until it is finished. What can be tried again is
    tried five times. The client's timeouts hold for one piece of network traffic; Dropbox may need a minute to finish
    a large file. ``folder`` is a path in the app folder, "" for its root.
    """

    def __init__(
        self,
        client: Client,
        *,
        app_key: str,
        app_secret: str,
        refresh_token: str,
        folder: str,
        sleep: Callable[[float], None],
        part_bytes: int = PART_BYTES,
        api_url: str = "https://api.dropboxapi.com",
        content_url: str = "https://content.dropboxapi.com",
    ) -> None:
        self._client = client
        self._app = (app_key, app_secret)
        self._refresh_token = refresh_token
        self._folder = f"/{folder.strip('/')}".rstrip("/")
        self._sleep = sleep
        self._part_bytes = part_bytes
        self._api = f"{api_url.rstrip('/')}/2/files"
        self._content = f"{content_url.rstrip('/')}/2/files"
        self._token_url = f"{api_url.rstrip('/')}/oauth2/token"
        self._access_token: str | None = None

    @property
    def where(self) -> str:
        return f"Dropbox:{self._folder}"

    def put(self, source: Path, name: str) -> None:
        what = f"storing {name}"
        size = source.stat().st_size
        started = self._upload("start", {"close": False}, what)
        if started.status_code == 409:
            raise self._refusal(started, what)
        session = started.json()["session_id"]
        offset = 0
        while offset < size:
            offset = self._append(session, source, offset, min(offset + self._part_bytes, size), what)
        self._finish(session, size, name, what)
        arrived = self._rpc("get_metadata", {"path": self._path(name)}, what)
        if arrived.status_code == 409:
            raise self._broke_off(what, arrived)
        sent = _hash_of_hashes(source, DROPBOX_BLOCK).hex()
        found = arrived.json()["content_hash"]
        _compare(found, sent, f"{self.where}/{name}", remove=lambda: self.delete(name))

    def names(self) -> list[str]:
        page = self._rpc("list_folder", {"path": self._folder}, "listing")
        if page.status_code == 409 and _summary(page).startswith("path/not_found"):
            return []  # Dropbox makes the folder with its first file
        entries: list[dict[str, Any]] = []
        while True:
            if page.status_code == 409:
                raise self._refusal(page, "listing")
            listed = page.json()
            entries += listed["entries"]
            if not listed["has_more"]:
                return sorted(entry["name"] for entry in entries if entry[".tag"] == "file")
            page = self._rpc("list_folder/continue", {"cursor": listed["cursor"]}, "listing")

    def fetch(self, name: str, target: Path) -> None:
        headers = {"Dropbox-API-Arg": json.dumps({"path": self._path(name)})}
        with atomic_write(target) as temporary:

            def send(authorization: dict[str, str]) -> Response:
                with self._client.stream(
                    "POST", f"{self._content}/download", headers=headers | authorization
                ) as response:
                    if response.status_code == 200:
                        with temporary.open("wb") as sink:
                            for block in response.iter_bytes(MIB):
                                sink.write(block)
                    else:
                        response.read()
                return response

            answer = self._exchange(send, f"fetching {name}")
            if answer.status_code == 409:
                raise self._refusal(answer, f"fetching {name}")
            sent = json.loads(answer.headers["Dropbox-API-Result"])["content_hash"]
            _compare(_hash_of_hashes(temporary, DROPBOX_BLOCK).hex(), sent, f"{self.where}/{name}")

    def delete(self, name: str) -> None:
        answer = self._rpc("delete_v2", {"path": self._path(name)}, f"deleting {name}")
        if answer.status_code == 409 and not _summary(answer).startswith("path_lookup/not_found"):
            raise self._refusal(answer, f"deleting {name}")

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _append(self, session: str, source: Path, start: int, end: int, what: str) -> int:
        """Send one part; returns how much Dropbox has then."""
        cursor = {"cursor": {"session_id": session, "offset": start}}
        answer = self._upload("append_v2", cursor, what, source=source, start=start, end=end)
        if answer.status_code != 409:
            return end
        # When an answer is lost on the way, the part has arrived nevertheless.
        arrived = int(answer.json()["error"].get("correct_offset", -1))
        if not start < arrived <= end:
            raise self._broke_off(what, answer)
        return arrived

    def _finish(self, session: str, size: int, name: str, what: str) -> None:
        commit = {"path": self._path(name), "mode": "overwrite", "autorename": False, "mute": True}
        cursor = {"session_id": session, "offset": size}
        answer = self._upload("finish", {"cursor": cursor, "commit": commit}, what)
        # A session that is gone was finished by an attempt whose answer was lost; the comparison will tell.
        if answer.status_code == 409 and not _summary(answer).startswith("lookup_failed"):
            raise self._refusal(answer, what)

    def _upload(
        self,
        call: str,
        argument: dict[str, Any],
        what: str,
        *,
        source: Path | None = None,
        start: int = 0,
        end: int = 0,
    ) -> Response:
        """One call of an upload session, with a section of a file if it takes one."""
        headers = {
            "Dropbox-API-Arg": json.dumps(argument),
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - start),
        }
        url = f"{self._content}/upload_session/{call}"
        return self._exchange(
            lambda authorization: self._client.post(
                url,
                content=_section(source, start, end) if source else b"",
                headers=headers | authorization,
            ),
            what,
        )

    def _rpc(self, call: str, argument: dict[str, Any], what: str) -> Response:
        return self._exchange(
            lambda authorization: self._client.post(f"{self._api}/{call}", json=argument, headers=authorization), what
        )

    def _exchange(self, send: Callable[[dict[str, str]], Response], what: str) -> Response:
        """The answer, which is a success or a 409 that the call has to understand."""
        to = f"{self.where}: {what}"
        response = self._try(send, to)
        if response.status_code == 401 and _summary(response).startswith("expired_access_token"):
            self._access_token = None
            response = self._try(send, to)
        if response.status_code != 409:
            check_status(response, to=to)
        return response

    def _try(self, send: Callable[[dict[str, str]], Response], to: str) -> Response:
        if self._access_token is None:
            self._access_token = self._new_access_token()
        authorization = {"Authorization": f"Bearer {self._access_token}"}
        return exchange(lambda: send(authorization), to=to, sleep=self._sleep)

    def _new_access_token(self) -> str:
        grant = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        answer = exchange(
            lambda: self._client.post(self._token_url, data=grant, auth=self._app),
            to="Dropbox: login",
            sleep=self._sleep,
        )
        if answer.status_code >= 400:
            raise CredentialRefused(
                f"Dropbox: the app key, its secret or the refresh token was refused ({answer.status_code}).",
                next_step="Renew them in the Dropbox connection, then clear the task.",
            )
        return str(answer.json()["access_token"])

    def _broke_off(self, what: str, answer: Response) -> SourceUnavailable:
        return SourceUnavailable(
            f"{self.where}: {what}: the upload session broke off ({_summary(answer)}); nothing was stored.",
            next_step="It is tried again from the beginning.",
        )

    def _refusal(self, answer: Response, what: str) -> PipelineError:
        summary = _summary(answer)
        if "not_found" in summary:
            return SourceMissing(
                f"{self.where}: {what}: it is not there ({summary}).", next_step="Choose one of the names it lists."
            )
        if "insufficient_space" in summary:
            return StoreFull(
                f"{self.where}: {what}: no space left.", next_step="Free space in that account, then clear the task."
            )
        return ContractViolation(
            f"{self.where}: {what}: refused ({summary}).", next_step="Correct the folder in the connection."
        )


def _summary(answer: Response) -> str:
    """The tags of a Dropbox error, outermost first, as ``path/not_found/..``; Dropbox wants them matched by prefix."""
    try:
        return str(answer.json()["error_summary"])
    except (ValueError, KeyError, TypeError):
        return ""


def _hash_of_hashes(path: Path, block_bytes: int) -> bytes:
    """SHA-256 of the joined SHA-256 digests of a file's blocks."""
    digests = hashlib.sha256()
    size = path.stat().st_size
    for start in range(0, size, block_bytes):
        block = hashlib.sha256()
        for data in _section(path, start, min(start + block_bytes, size)):
            block.update(data)
        digests.update(block.digest())
    return digests.digest()


def _section(path: Path, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a file from ``start`` to before ``end``, piece by piece."""
    with path.open("rb") as stream:
        stream.seek(start)
        while start < end and (data := stream.read(min(MIB, end - start))):
            start += len(data)
            yield data


def _compare(found: str, sent: str, what: str, *, remove: Callable[[], None] | None = None) -> None:
    if found == sent:
        return
    if remove:
        remove()
    raise CheckFailed(
        f"{what}: what arrived is not what was sent (hash {found}, not {sent}); it was removed.",
        next_step="Clear the task. If it happens again, do not trust that place before somebody has looked at it.",
    )


def _without_hash(where: str, name: str, command: str) -> CheckFailed:
    return CheckFailed(
        f"{where}: {name} has no SHA-256 to compare it with; it was not stored by this system.",
        next_step=f"If you trust it, add the hash: {command}",
    )


def _forget_cached(path: Path) -> None:
    """Write a file through and let the next read come from the medium or the server, not from our memory."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def _s3_errors(what: str) -> Iterator[None]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
        raise CredentialRefused(
            f"{what}: no usable credentials ({error}).", next_step="Complete the S3 connection, then clear the task."
        ) from error
    except (Boto3Error, BotoCoreError, ClientError) as error:
        refused = error if isinstance(error, ClientError) else error.__context__  # boto3 wraps what an upload raises
        if isinstance(refused, ClientError):
            raise _s3_refusal(what, refused) from error
        raise SourceUnavailable(
            f"{what}: no complete answer ({type(error).__name__}: {error}).",
            next_step="It is tried again. If it stays, check the network and the other side, then clear the task.",
        ) from error


def _s3_refusal(what: str, refused: Any) -> PipelineError:
    status = refused.response["ResponseMetadata"]["HTTPStatusCode"]
    code = refused.response["Error"]["Code"]
    text = f"{what}: refused with {status} {code}."
    if status in (401, 403) or code in ("ExpiredToken", "InvalidToken"):
        return CredentialRefused(text, next_step="Renew the S3 connection or the bucket's policy, then clear the task.")
    if status == 404:
        return SourceMissing(text, next_step="Correct the bucket, or choose one of the names it lists.")
    if status == 429 or code == "SlowDown":
        return RateLimited(text, next_step="Nothing to do.")
    if status >= 500 or code == "RequestTimeout":
        return SourceUnavailable(text, next_step="It is tried again. If it stays, ask whoever runs the store.")
    return ContractViolation(text, next_step="Correct the bucket or prefix in the connection.")
