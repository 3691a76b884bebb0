"""A mail server that keeps what it gets."""

import base64
import socketserver
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage

from sandbox.servers.base import HOST, Listener, ThreadedServer


@dataclass(frozen=True)
class Mail:
    """One accepted mail: the envelope's addresses and the parsed message."""

    sender: str
    recipients: list[str]
    message: EmailMessage


class SmtpServer(ThreadedServer):
    """ESMTP without TLS; accepted mails are in ``mails``.

    With a user and password, mail is taken only after AUTH PLAIN with these; wrong ones are refused with 535.
    """

    def __init__(self, *, user: str | None = None, password: str | None = None, port: int = 0) -> None:
        super().__init__(port=port)
        self.user, self.password = user, password
        self.mails: list[Mail] = []

    def _listen(self) -> Listener:
        server = self

        class Session(_Session):
            smtp = server

        return Listener((HOST, self.port), Session)


class _Session(socketserver.StreamRequestHandler):
    smtp: SmtpServer
    sender: str | None = None

    def handle(self) -> None:
        self.recipients: list[str] = []
        self.trusted = self.smtp.user is None
        self._say(220, "sandbox ESMTP")
        while line := self.rfile.readline():
            verb, _, argument = line.decode(errors="replace").strip().partition(" ")
            if verb.upper() == "QUIT":
                self._say(221, "bye")
                return
            self._obey(verb.upper(), argument)

    def _obey(self, verb: str, argument: str) -> None:
        match verb:
            case "EHLO":
                features = ["sandbox", "8BITMIME", "SMTPUTF8", *(["AUTH PLAIN"] if self.smtp.user else [])]
                for feature in features[:-1]:
                    self._say(250, feature, more=True)
                self._say(250, features[-1])
            case "HELO" | "NOOP":
                self._say(250, "ok")
            case "RSET":
                self.sender, self.recipients = None, []
                self._say(250, "ok")
            case "AUTH":
                self._log_in(argument)
            case "MAIL" if not self.trusted:
                self._say(530, "authentication required")
            case "MAIL":
                self.sender, self.recipients = _address(argument), []
                self._say(250, "ok")
            case "RCPT" if self.sender is not None:
                self.recipients.append(_address(argument))
                self._say(250, "ok")
            case "DATA" if self.recipients:
                self._say(354, "end with a line that holds a dot only")
                self._receive()
            case "RCPT" | "DATA":
                self._say(503, "bad sequence of commands")
            case _:
                self._say(502, "command not implemented")

    def _log_in(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        if mechanism.upper() != "PLAIN":
            self._say(504, "only PLAIN")
            return
        if not initial:
            self._say(334, "")
            initial = self.rfile.readline().decode().strip()
        given = base64.b64decode(initial).decode().split("\0")[1:]
        self.trusted = given == [self.smtp.user, self.smtp.password]
        self._say(*((235, "ok") if self.trusted else (535, "user or password is wrong")))

    def _receive(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".").replace(b"\r\n", b"\n"))
        if not line:
            return  # the client went away in the middle: no mail
        message = message_from_bytes(b"".join(lines), policy=policy.default)
        self.smtp.mails.append(Mail(self.sender or "", self.recipients, message))
        self.sender, self.recipients = None, []
        self._say(250, "ok")

    def _say(self, code: int, text: str, *, more: bool = False) -> None:
        self.wfile.write(f"{code}{'-' if more else ' '}{text}\r\n".encode())


def _address(argument: str) -> str:
    return argument.partition("<")[2].partition(">")[0]
