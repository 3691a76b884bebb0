"""A small threaded HTTP/1.1 server: apps register handlers by method and path, tests queue faults."""

import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from sandbox.servers.base import HOST, Listener, ThreadedServer
from sandbox.servers.faults import HttpFaults


@dataclass(frozen=True)
class Request:
    """``parts`` are the named groups of the route's pattern; ``path`` is decoded and without the query."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: bytes
    parts: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The body as JSON. Raises ValueError if it is not."""
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        """The body as an HTML form."""
        return dict(parse_qsl(self.body.decode()))


@dataclass(frozen=True)
class Response:
    """A ``Path`` as body is sent from the disk."""

    status: int = 200
    body: bytes | Path = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpError(Exception):
    """A handler raises it to answer with ``response`` at once."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


Handler = Callable[[Request], Response]


def json_response(value: Any, *, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def text_response(text: str, *, status: int = 200) -> Response:
    return Response(status, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})


class HttpServer(HttpFaults, ThreadedServer):
    """Answers with the first route that matches, else with 404. HEAD is answered like GET, without the body.

    A handler may run in several threads at once. One that raises anything but HttpError is logged and answers 500.
    """

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    def route(self, method: str, pattern: str, handler: Handler) -> None:
        """Let ``handler`` answer requests whose whole path matches the regular expression ``pattern``."""
        self._routes.append((method, re.compile(pattern), handler))

    def respond(self, request: Request) -> Response:
        """The answer to one request: a queued fault, or what the app says."""
        if fault := self.take_fault(request.path):
            return Response(fault.status, fault.body, fault.headers)
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(request.path)
            if match and method == request.method.replace("HEAD", "GET"):
                parts = {name: value for name, value in match.groupdict().items() if value is not None}
                return _answer(handler, replace(request, parts=parts))
        return text_response(f"There is no {request.method} {request.path} here.", status=404)

    def _listen(self) -> Listener:
        app = self

        class Connection(_Connection):
            respond = staticmethod(app.respond)

        return Listener((HOST, self.port), Connection)


def _answer(handler: Handler, request: Request) -> Response:
    try:
        return handler(request)
    except HttpError as error:
        return error.response
    except Exception:
        logging.getLogger(__name__).exception("%s %s failed", request.method, request.path)
        return text_response("The handler failed; see the log of the sandbox.", status=500)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body are two writes; the client would delay its ACK of the first
    respond: Handler

    def _exchange(self) -> None:
        url = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(url.path),
            query=dict(parse_qsl(url.query, keep_blank_values=True)),
            headers=self.headers,
            body=b"".join(self._chunks()),
        )
        response = self.respond(request)
        size = response.body.stat().st_size if isinstance(response.body, Path) else len(response.body)
        self.send_response(response.status)
        for name, value in {"Content-Length": str(size), **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(response.body, Path):
            with response.body.open("rb") as file:
                shutil.copyfileobj(file, self.wfile)
        else:
            self.wfile.write(response.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _exchange  # noqa: N815 - names set by http.server

    def _chunks(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():  # trailers
                pass
        else:
            yield self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is set by http.server
        logging.getLogger(__name__).debug(format, *args)
