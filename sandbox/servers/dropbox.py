"""Dropbox, as far as its HTTP API v2 is documented and a backup needs it."""

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from sandbox.servers.http import Handler, HttpError, HttpServer, Request, Response, json_response, text_response
from sandbox.servers.paths import find_ignoring_case

BLOCK = 4 * 1024 * 1024
DATE = "%Y-%m-%dT%H:%M:%SZ"
Json = dict[str, Any]


def content_hash(source: BinaryIO) -> str:
    """Dropbox's hash of a file: SHA-256 over the SHA-256 digests of its blocks of 4 MiB, in hexadecimal."""
    digests = hashlib.sha256()
    while block := source.read(BLOCK):
        digests.update(hashlib.sha256(block).digest())
    return digests.hexdigest()


@dataclass
class _Session:
    file: Path
    closed: bool = False


class DropboxServer(HttpServer):
    """Token, upload (in one request or a session), download, list, metadata and delete; api and content on one port.

    Files live below ``root``; nothing of an unfinished session does. Access tokens last ``TOKEN_LIFETIME`` seconds or
    until :meth:`expire_tokens`. Paths ignore case. ``list_folder`` returns at most ``page_size`` entries at a time.
    """

    TOKEN_LIFETIME = 14_400

    def __init__(
        self,
        root: Path,
        *,
        app_key: str,
        app_secret: str,
        refresh_token: str,
        page_size: int = 3,
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.root, self.page_size = root, page_size
        self._app, self._refresh_token = (app_key, app_secret), refresh_token
        self._tokens: dict[str, float] = {}  # until when, on the monotonic clock
        self._sessions: dict[str, _Session] = {}
        self._cursors: dict[str, list[Json]] = {}
        self._lock = threading.RLock()
        for path, handler in {
            "/oauth2/token": self._token,
            "/2/files/upload": self._upload,
            "/2/files/upload_session/start": self._start_session,
            "/2/files/upload_session/append_v2": self._append_to_session,
            "/2/files/upload_session/finish": self._finish_session,
            "/2/files/download": self._download,
            "/2/files/list_folder": self._list_folder,
            "/2/files/list_folder/continue": self._list_on,
            "/2/files/get_metadata": self._get_metadata,
            "/2/files/delete_v2": self._delete,
        }.items():
            self.route("POST", re.escape(path), _complete(handler))

    def _start(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        uploads = tempfile.TemporaryDirectory(prefix=".uploading-", dir=self.root.parent)
        self._uploads = Path(self._running.enter_context(uploads))
        self._running.callback(self._sessions.clear)
        super()._start()

    def expire_tokens(self) -> None:
        """Let every access token handed out so far be refused as expired."""
        self._tokens = dict.fromkeys(self._tokens, 0.0)

    def _token(self, request: Request) -> Response:
        form = request.form()
        app = (form.get("client_id", ""), form.get("client_secret", ""))
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            app = tuple(base64.b64decode(credentials).decode().split(":", 1))  # type: ignore[assignment]
        if app != self._app:
            return _oauth_error("invalid_client", "Invalid client_id or client_secret", 401 if scheme else 400)
        if form.get("grant_type") != "refresh_token":
            return _oauth_error("unsupported_grant_type", "grant_type must be refresh_token", 400)
        if form.get("refresh_token") != self._refresh_token:
            return _oauth_error("invalid_grant", "refresh token is invalid or revoked", 400)
        token = f"sl.{secrets.token_urlsafe(24)}"
        self._tokens[token] = time.monotonic() + self.TOKEN_LIFETIME
        return json_response({"access_token": token, "token_type": "bearer", "expires_in": self.TOKEN_LIFETIME})

    def _upload(self, request: Request) -> Response:
        commit = self._content_call(request)
        with self._lock:
            incoming = self._new_file()
            incoming.write_bytes(request.body)
            return json_response(self._commit(incoming, commit, detail="reason"))

    def _start_session(self, request: Request) -> Response:
        argument = self._content_call(request)
        session_id = f"pid_upload_session:{secrets.token_urlsafe(16)}"
        with self._lock:
            session = self._sessions[session_id] = _Session(self._new_file(), closed=bool(argument.get("close")))
            session.file.write_bytes(request.body)
        return json_response({"session_id": session_id})

    def _append_to_session(self, request: Request) -> Response:
        argument = self._content_call(request)
        with self._lock:
            session = self._receive(argument["cursor"], request.body)
            session.closed = bool(argument.get("close"))
        return json_response(None)

    def _finish_session(self, request: Request) -> Response:
        argument = self._content_call(request)
        with self._lock:
            session = self._receive(argument["cursor"], request.body, within="lookup_failed", closing=True)
            try:
                metadata = self._commit(session.file, argument["commit"], detail="path")
            except HttpError:  # nothing was taken: the client may finish again, say with another path
                with session.file.open("r+b") as file:
                    file.truncate(argument["cursor"]["offset"])
                raise
            del self._sessions[argument["cursor"]["session_id"]]
        return json_response(metadata)

    def _download(self, request: Request) -> Response:
        found = self._existing(self._content_call(request)["path"])
        if found.is_dir():
            raise _conflict("path", "not_file")
        result = json.dumps(_untagged(self._metadata(found)))  # ASCII, as a header must be
        return Response(200, found, {"Content-Type": "application/octet-stream", "Dropbox-API-Result": result})

    def _list_folder(self, request: Request) -> Response:
        argument = self._rpc_call(request)
        if argument["path"] == "/":
            raise _bad_input("list_folder", 'path: Specify the root folder as an empty string rather than as "/".')
        folder = self._existing(argument["path"])
        if not folder.is_dir():
            raise _conflict("path", "not_folder")
        found = sorted(folder.rglob("*") if argument.get("recursive") else folder.iterdir())
        return self._page([self._metadata(entry) for entry in found])

    def _list_on(self, request: Request) -> Response:
        rest = self._cursors.get(self._rpc_call(request)["cursor"])
        if rest is None:
            raise _conflict("reset")
        return self._page(rest)

    def _page(self, entries: list[Json]) -> Response:
        page, rest = entries[: self.page_size], entries[self.page_size :]
        cursor = secrets.token_urlsafe(16)
        self._cursors[cursor] = rest
        return json_response({"entries": page, "cursor": cursor, "has_more": bool(rest)})

    def _get_metadata(self, request: Request) -> Response:
        return json_response(self._metadata(self._existing(self._rpc_call(request)["path"])))

    def _delete(self, request: Request) -> Response:
        with self._lock:
            doomed = self._existing(self._rpc_call(request)["path"], within="path_lookup")
            metadata = self._metadata(doomed)
            shutil.rmtree(doomed) if doomed.is_dir() else doomed.unlink()
        return json_response({"metadata": metadata})

    def _rpc_call(self, request: Request) -> Json:
        """The argument of a call that takes JSON as body."""
        return self._argument(request, request.body)

    def _content_call(self, request: Request) -> Json:
        """The argument of a call whose body is a file, or nothing."""
        argument = self._argument(request, request.headers.get("Dropbox-API-Arg", ""))
        if argument.get("content_hash") not in (None, content_hash(io.BytesIO(request.body))):
            raise _conflict("content_hash_mismatch")
        return argument

    def _argument(self, request: Request, text: str | bytes) -> Json:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self._tokens:
            raise _error(401, "invalid_access_token")
        if self._tokens[token] <= time.monotonic():
            raise _error(401, "expired_access_token")
        with contextlib.suppress(ValueError):
            argument = json.loads(text)
            if isinstance(argument, dict):
                return argument
        raise _bad_input(request.path.removeprefix("/2/"), "could not decode input as JSON")

    def _receive(self, cursor: Json, data: bytes, *, within: str = "", closing: bool = False) -> _Session:
        """Append to a session if the client knows how much has arrived; else tell it."""
        session = self._sessions.get(cursor["session_id"])
        if session is None:
            raise _conflict(within, "not_found")
        size = session.file.stat().st_size
        if cursor["offset"] != size:
            raise _conflict(within, "incorrect_offset", correct_offset=size)
        if session.closed and (data or not closing):
            raise _conflict(within, "closed")
        with session.file.open("ab") as file:
            file.write(data)
        return session

    def _commit(self, incoming: Path, commit: Json, *, detail: str) -> Json:
        """Give an uploaded file its name, as the mode wants it.

        ``detail`` is the field of a refusal in which this call names the cause.
        """
        target = self._locate(commit["path"])
        mode = commit.get("mode", "add")
        mode = {".tag": mode} if isinstance(mode, str) else mode
        if target.is_dir():
            raise _conflict("path", "conflict", "folder", detail=detail)
        if any(folder.is_file() for folder in target.parents):
            raise _conflict("path", "conflict", "file_ancestor", detail=detail)
        if target.exists() and mode[".tag"] != "overwrite":
            there = self._metadata(target)
            if there["content_hash"] == _hash_of(incoming):
                incoming.unlink()
                return _untagged(there)
            if mode != {".tag": "update", "update": there["rev"]}:
                if not commit.get("autorename"):
                    raise _conflict("path", "conflict", "file", detail=detail)
                names = (target.with_name(f"{target.stem} ({n}){target.suffix}") for n in count(1))
                target = next(name for name in names if not name.exists())
        if modified := commit.get("client_modified"):
            at = datetime.strptime(modified, DATE).replace(tzinfo=UTC).timestamp()
            os.utime(incoming, (at, at))
        target.parent.mkdir(parents=True, exist_ok=True)
        incoming.replace(target)
        return _untagged(self._metadata(target))

    def _new_file(self) -> Path:
        return self._uploads / secrets.token_hex(16)

    def _existing(self, path: str, *, within: str = "path") -> Path:
        found = self._locate(path) if path else self.root
        if not found.exists():
            raise _conflict(within, "not_found")
        return found

    def _locate(self, path: str) -> Path:
        if not re.fullmatch(r"(/[^/]+)+", path) or {".", ".."} & set(path.split("/")):
            raise _conflict("path", "malformed_path")
        return find_ignoring_case(self.root, path)

    def _metadata(self, entry: Path) -> Json:
        display = f"/{entry.relative_to(self.root)}"
        status = entry.stat()
        common = {
            "name": entry.name,
            "path_lower": display.lower(),
            "path_display": display,
            "id": f"id:{status.st_ino:022x}",
        }
        if entry.is_dir():
            return {".tag": "folder", **common}
        modified = datetime.fromtimestamp(status.st_mtime, UTC).strftime(DATE)
        return {
            ".tag": "file",
            **common,
            "client_modified": modified,
            "server_modified": modified,
            "rev": f"{status.st_ino:x}{status.st_mtime_ns:x}",
            "size": status.st_size,
            "is_downloadable": True,
            "content_hash": _hash_of(entry),
        }


def _hash_of(file: Path) -> str:
    status = file.stat()
    return _remembered_hash(file, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _remembered_hash(file: Path, *_version: int) -> str:
    with file.open("rb") as source:
        return content_hash(source)


def _complete(handler: Handler) -> Handler:
    """Turn a missing argument into the answer Dropbox gives."""

    def answer(request: Request) -> Response:
        try:
            return handler(request)
        except KeyError as error:
            return _bad_input(request.path.removeprefix("/2/"), f"missing required field {error}").response

    return answer


def _untagged(metadata: Json) -> Json:
    """As the calls write it that can only return a file."""
    return {name: value for name, value in metadata.items() if name != ".tag"}


def _conflict(*tags: str, detail: str = "", **values: Any) -> HttpError:
    """409 with a union of unions: ``("path", "not_found")`` is ``{".tag": "path", "path": {".tag": "not_found"}}``.

    An empty tag is left out. ``detail`` is the name of the second level where it is not that of the first.
    """
    tags = tuple(filter(None, tags))
    return _error(409, *tags, detail=detail, **values)


def _error(status: int, *tags: str, detail: str = "", **values: Any) -> HttpError:
    error: Json = {".tag": tags[-1], **values}
    for tag in reversed(tags[:-1]):
        error = {".tag": tag, tag: error}
    if detail:
        error[detail] = error.pop(tags[0])
    return HttpError(json_response({"error_summary": "/".join((*tags, "..")), "error": error}, status=status))


def _bad_input(function: str, what: str) -> HttpError:
    return HttpError(text_response(f'Error in call to API function "{function}": {what}', status=400))


def _oauth_error(code: str, description: str, status: int) -> Response:
    return json_response({"error": code, "error_description": description}, status=status)
