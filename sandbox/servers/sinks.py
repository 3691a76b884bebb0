"""Where notifications arrive: ntfy, Slack webhooks, Apprise's json://."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.servers.http import HttpError, HttpServer, Request, Response, json_response, text_response


@dataclass(frozen=True)
class Message:
    """One accepted notification, as it was sent: ``kind`` is ntfy, slack or json; ``headers`` have lower-case names."""

    kind: str
    path: str
    headers: dict[str, str]
    body: str
    received_at: datetime


class NotificationSink(HttpServer):
    """Takes what the services take, refuses what they refuse, and records what it took in ``messages``.

    - ntfy: text or a file to ``/<topic>`` (POST or PUT), or JSON with a topic to ``/``, which is what Apprise's
      ``ntfy://127.0.0.1:port/topic`` sends
    - Slack: JSON ``{"text": ...}`` to ``/services/...``
    - JSON without a topic to ``/``: Apprise's ``json://127.0.0.1:port/``
    """

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.messages: list[Message] = []
        self.route("POST", r"/", self._json)
        self.route("POST", r"/services/.+", self._slack)
        for method in ("POST", "PUT"):
            self.route(method, r"/(?P<topic>[-_A-Za-z0-9]{1,64})", self._ntfy)

    def _json(self, request: Request) -> Response:
        message = _object(request, text_response('{"error": "request body must be message JSON"}', status=400))
        if "topic" in message:
            self._record("ntfy", request)
            return _published(str(message["topic"]))
        self._record("json", request)
        return json_response({"status": "ok"})

    def _ntfy(self, request: Request) -> Response:
        self._record("ntfy", request)
        return _published(request.parts["topic"])

    def _slack(self, request: Request) -> Response:
        message = _object(request, text_response("invalid_payload", status=400))
        if not (message.get("text") or message.get("blocks") or message.get("attachments")):
            return text_response("no_text", status=400)
        self._record("slack", request)
        return text_response("ok")

    def _record(self, kind: str, request: Request) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.body.decode(errors="replace")
        self.messages.append(Message(kind, request.path, headers, body, datetime.now(UTC)))


def _published(topic: str) -> Response:
    return json_response({"event": "message", "topic": topic})


def _object(request: Request, refusal: Response) -> dict[str, object]:
    try:
        value = json.loads(request.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise HttpError(refusal)
    return value
