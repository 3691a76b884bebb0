"""S3, in memory."""

import contextlib
import http.client
import socket
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import ThreadedWSGIServer
from werkzeug.wrappers import Request, Response

from sandbox.servers.base import HOST, Connections, ThreadedServer
from sandbox.servers.faults import HttpFaults


class S3Server(HttpFaults, ThreadedServer):
    """moto's S3; any credentials are accepted.

    Buckets live in the memory of this process, common to all its S3Servers, until :meth:`reset` or its end.
    """

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def client(self) -> Any:
        """A new boto3 client of this server; close it."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="sandbox",
            aws_secret_access_key="sandbox",
        )

    def create_bucket(self, name: str) -> None:
        """Make a bucket, unless it is there."""
        client = self.client()
        client.create_bucket(Bucket=name)
        client.close()

    def reset(self) -> None:
        """Delete all buckets."""
        with contextlib.closing(http.client.HTTPConnection(HOST, self.port)) as connection:
            connection.request("POST", "/moto-api/reset")
            connection.getresponse().read()

    def _listen(self) -> "_Wsgi":
        self._moto = DomainDispatcherApplication(create_backend_app)
        # Given an address instead of a socket, werkzeug exits the process when the port is taken.
        with socket.create_server((HOST, self.port), backlog=128) as bound:
            return _Wsgi(HOST, self.port, self._respond, _QuietHandler, fd=bound.fileno())

    def _respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        fault = self.take_fault(environ["PATH_INFO"])
        if fault is None:
            return self._moto(environ, start_response)  # type: ignore[no-any-return]
        Request(environ).get_data()  # a client that is still sending would take the early end for a lost connection
        return Response(fault.body, fault.status, fault.headers)(environ, start_response)


class _Wsgi(Connections, ThreadedWSGIServer):
    pass


class _QuietHandler(MotoRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the name is set by werkzeug
        pass
