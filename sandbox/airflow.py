"""A whole real Airflow on this machine, for the demo and the end-to-end tests: no root, no Docker.

Four processes (API server, scheduler with LocalExecutor, DAG processor, triggerer) that share one home directory and
one metadata database. Each lives under its own :mod:`sandbox.reaper`, so none of them, nor any task they started,
outlives this process, however it ends.
"""

import base64
import json
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar
from urllib.parse import quote

import httpx
import sqlalchemy as sa

from sandbox.servers.base import wait
from sandbox.servers.child import accepts_connections, free_port

REPOSITORY = Path(__file__).resolve().parents[1]
REAPER = Path(__file__).with_name("reaper.py")
COMPONENTS = {
    "api-server": (),
    # The log servers would listen on all interfaces, and the API server reads the files itself.
    "scheduler": ("--skip-serve-logs",),
    "dag-processor": (),
    "triggerer": ("--skip-serve-logs",),
}
USER = "admin"
ENDED = ("success", "failed")
PATIENCE = 600.0  # seconds for what takes a few, on the busiest machine

Json = dict[str, Any]
Result = TypeVar("Result")


class AirflowError(RuntimeError):
    """Airflow did not start, did not answer in time, or a command failed; the text holds the end of the guilty log."""


class Airflow:
    """One Airflow; use it as a context manager, or call :meth:`start` and :meth:`stop`.

    ``home`` keeps everything that must survive a restart: the generated secrets, the logs, the password file. ``env``
    is added last, so it can hold connections (``AIRFLOW_CONN_*``) and override any setting; a ``PYTHONPATH`` in it is
    appended. Nothing called ``AIRFLOW*`` is taken from the surrounding environment. ``pools`` is a file as ``airflow
    pools import`` reads it. ``port`` 0 means any free port.
    """

    def __init__(
        self,
        home: Path,
        *,
        dags: Path,
        plugins: Path,
        env: Mapping[str, str],
        database_url: str,
        pools: Path | None = None,
        port: int = 0,
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.home = home.resolve()
        self.logs = self.home / "logs"
        self.pools = pools.resolve() if pools else None
        self.database_url = database_url
        self.on_progress = on_progress
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._reapers: dict[str, subprocess.Popen[str]] = {}
        self._lifeline: int | None = None

        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = _kept_secrets(self.home / "secrets.json")
        self.user, self.password = USER, kept["password"]
        passwords = self.home / "simple_auth_manager_passwords.json"
        _write_private(passwords, json.dumps({self.user: self.password}))
        path = [str(REPOSITORY), str(plugins.resolve()), *filter(None, [env.get("PYTHONPATH")])]
        self.env = {
            **_inherited(),
            **_settings(
                core__dags_folder=dags.resolve(),
                core__plugins_folder=plugins.resolve(),
                core__load_examples=False,
                core__executor="LocalExecutor",
                core__parallelism=4,  # LocalExecutor forks all of them at the start
                core__fernet_key=kept["fernet_key"],
                core__execution_api_server_url=f"{self.url}/execution/",
                core__auth_manager="airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
                core__simple_auth_manager_users=f"{self.user}:admin",
                core__simple_auth_manager_passwords_file=passwords,
                database__sql_alchemy_conn=database_url,
                api__host="127.0.0.1",
                api__port=self.port,
                api__base_url=self.url,
                api__workers=1,
                api__default_wrap=True,  # or the next step of an error is off the screen
                api__secret_key=kept["api_secret_key"],
                api_auth__jwt_secret=kept["jwt_secret"],
                scheduler__scheduler_idle_sleep_time=0.2,  # the default of 1 s is the gap between any two tasks
                # A task whose worker was killed is noticed by its missing heartbeat, one whose scheduler was killed
                # is an orphan; by default both take five minutes.
                scheduler__task_instance_heartbeat_timeout=60,
                scheduler__orphaned_tasks_check_interval=10,
                # The supervisor of a task often misses its end and looks again after this time: by default a failure is
                # known 5 s late.
                workers__min_heartbeat_interval=1,
                workers__execution_api_timeout=60,  # a task gives up when five answers took longer, by default 5 s
                dag_processor__refresh_interval=10,
                dag_processor__min_file_process_interval=5,
                logging__base_log_folder=self.logs / "tasks",
                logging__dag_processor_child_process_log_directory=self.logs / "dag_processor",
                logging__worker_log_server_port=free_port(),  # nobody listens there, not even another Airflow
                logging__trigger_log_server_port=free_port(),
                logging__logging_level="INFO",
                logging__namespace_levels="http.access=WARNING",
                logging__uvicorn_logging_level="WARNING",
                logging__colored_console_log=False,
            ),
            "AIRFLOW_HOME": str(self.home),
            "SPT_NOENV": "1",  # setproctitle would write over /proc/PID/environ, by which one finds our processes
            **env,
            "PYTHONPATH": os.pathsep.join(path),
        }
        self.api = Api(self.url, self.user, self.password)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Prepare the database, serialise the DAGs, start the components and wait until all report to be healthy.

        Raises AirflowError, after stopping what had started, if a component ends or is not healthy in PATIENCE.
        """
        if self._reapers:
            raise AirflowError(f"The Airflow in {self.home} is running already.")
        if accepts_connections(self.port):  # another Airflow there would answer for ours
            raise AirflowError(f"Port {self.port} is taken. Stop what listens there, or choose another port.")
        try:
            self._prepare_database()
            self.on_progress("serialising DAGs")
            self._must("dags", "reserialize")
            self.on_progress("starting " + ", ".join(COMPONENTS))
            began = datetime.now(UTC)
            stdin, self._lifeline = os.pipe()
            for component, options in COMPONENTS.items():
                with (self.logs / f"{component}.log").open("wb") as log:
                    self._reapers[component] = self._spawn(component, *options, stdin=stdin, stdout=log)
            os.close(stdin)
            self._wait_until_healthy(began)
        except BaseException:
            self.stop()
            raise
        self.on_progress(f"Airflow is ready at {self.url}")

    def stop(self) -> None:
        """Stop everything that was started, tasks included; safe to call twice.

        A task that was running is started again by the next :meth:`start` on the same database.
        """
        self.api.close()
        if self._lifeline is None:
            return
        self.on_progress("stopping Airflow")
        os.close(self._lifeline)
        self._lifeline = None
        for reaper in self._reapers.values():
            reaper.wait()  # bounded: a reaper gives its command a few seconds, then kills
        self._reapers.clear()

    def cli(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run ``airflow ARGS`` in this Airflow's environment, to the end; the caller looks at the return code."""
        stdin, lifeline = os.pipe()
        try:
            process = self._spawn(*args, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            output, errors = process.communicate()
        finally:
            os.close(stdin)
            os.close(lifeline)
        return subprocess.CompletedProcess(["airflow", *args], process.returncode, output, errors)

    def wait_for_dags(self, dag_ids: Collection[str]) -> None:
        """Wait until all ``dag_ids`` are known; raises AirflowError with the missing ones and the import errors."""
        if not self.api.wait(lambda: set(dag_ids) <= self.api.dag_ids(), PATIENCE):
            missing = set(dag_ids) - self.api.dag_ids()
            raise AirflowError(
                f"After {PATIENCE:.0f} s these DAGs are still unknown: {', '.join(sorted(missing))}. "
                f"Import errors: {json.dumps(self.api.import_errors(), indent=1)}\n{self._tail('dag-processor')}"
            )

    def write_environment(self, file: Path, places: Mapping[str, str]) -> None:
        """Write a shell file, for its owner only, that makes a terminal part of this Airflow and of ``places``."""
        ours = {name: value for name, value in self.env.items() if os.environ.get(name) != value} | places
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(ours.items())]
        _write_private(
            file, "".join([f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n', *lines])
        )

    def _spawn(
        self, *args: str, stdin: int, stdout: int | IO[bytes], stderr: int = subprocess.STDOUT
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(REAPER), sys.executable, "-m", "airflow", *args],
            cwd=self.home,  # "-m" puts the working directory first on the path: in sandbox/ it would find this file
            env=self.env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )

    def _must(self, *args: str) -> None:
        done = self.cli(*args)
        if done.returncode:
            raise AirflowError(f"`airflow {' '.join(args)}` failed:\n{_last_lines(done.stdout + done.stderr)}")

    def _prepare_database(self) -> None:
        """Migrate and import the pools, unless both were done before with the same Airflow, database and pools."""
        note = self.home / "prepared.json"
        if note.exists() and json.loads(note.read_text()) == self._preparation():
            return
        self.on_progress("migrating the metadata database")
        self._must("db", "migrate")
        if self.pools:
            self.on_progress("importing pools")
            self._must("pools", "import", str(self.pools))
        note.write_text(json.dumps(self._preparation()))

    def _preparation(self) -> Json:
        engine = sa.create_engine(self.database_url)
        try:
            with engine.connect() as connection:
                revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        except sa.exc.DBAPIError:
            revision = None  # an empty database
        finally:
            engine.dispose()
        return {
            "airflow": version("apache-airflow-core"),
            "database": sa.make_url(self.database_url).database,
            "revision": revision,
            "pools": self.pools.read_text() if self.pools else None,
        }

    def _wait_until_healthy(self, began: datetime) -> None:
        unhealthy = set(COMPONENTS)

        def all_healthy() -> bool:
            for component, reaper in self._reapers.items():
                if reaper.poll() is not None:
                    raise AirflowError(f"{component} ended with code {reaper.returncode}.\n{self._tail(component)}")
            for component in unhealthy & self.api.healthy_components(since=began):
                unhealthy.remove(component)
                self.on_progress(f"{component} is healthy")
            return not unhealthy

        if not wait(all_healthy, timeout=PATIENCE):
            tails = "\n".join(self._tail(component) for component in COMPONENTS if component in unhealthy)
            raise AirflowError(f"Not healthy after {PATIENCE:.0f} s: {', '.join(sorted(unhealthy))}.\n{tails}")

    def _tail(self, component: str) -> str:
        log = self.logs / f"{component}.log"
        return f"--- end of {log}\n{_last_lines(log.read_text(errors='replace') if log.exists() else '')}"


class Api:
    """The little of Airflow's REST API that the demo and the tests use. Runs, events ... are the API's own JSON."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url, self._auth = url, _Token(url, user, password)
        self._client: httpx.Client | None = None

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._client:
            self._client.close()
            self._client = None

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send one request below ``/api/v2/``; returns the JSON body, raises AirflowError with the server's text."""
        if self._client is None:
            # trust_env=False: a proxy of the surrounding environment must not see, nor break, a loopback call
            self._client = httpx.Client(base_url=f"{self._url}/api/v2/", auth=self._auth, timeout=120, trust_env=False)
        response = self._client.request(method, path, **options)
        if response.is_error:
            raise AirflowError(f"{method} {path} was answered {response.status_code}: {response.text}")
        return response.json() if response.content else None

    def healthy_components(self, *, since: datetime) -> set[str]:
        """Return the components that answer, with a heartbeat not older than ``since``."""
        try:
            health = self.request("GET", "monitor/health", auth=None, timeout=30)
        except (httpx.TransportError, AirflowError):
            return set()
        healthy = {"api-server"} if health["metadatabase"]["status"] == "healthy" else set()
        for component in ("scheduler", "dag-processor", "triggerer"):
            name = component.replace("-", "_")
            heartbeat = health[name][f"latest_{name}_heartbeat"]
            # A process that was killed seconds ago still counts as healthy; its heartbeat gives it away.
            if health[name]["status"] == "healthy" and datetime.fromisoformat(heartbeat) >= since:
                healthy.add(component)
        return healthy

    def dag_ids(self) -> set[str]:
        """Return the ids of all current DAGs."""
        return {dag["dag_id"] for dag in self._pages("dags", "dags", order_by="dag_id")}

    def import_errors(self) -> dict[str, str]:
        """Return {file: traceback} of the DAG files that could not be imported."""
        errors = self._pages("importErrors", "import_errors", order_by="id")
        return {error["filename"]: error["stack_trace"] for error in errors}

    def unpause(self, dag_id: str) -> None:
        """Let the DAG be scheduled; until then it also ignores the assets it waits for."""
        self.request("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Json | None = None, partition_key: str | None = None) -> Json:
        """Start a run and return it."""
        body = {"logical_date": None, "conf": conf or {}, "partition_key": partition_key}
        run: Json = self.request("POST", f"dags/{dag_id}/dagRuns", json=body)
        return run

    def runs(self, dag_id: str) -> list[Json]:
        """Return all runs of the DAG, oldest first."""
        return list(self._pages(f"dags/{dag_id}/dagRuns", "dag_runs", order_by="id"))

    def wait(self, holds: Callable[[], Result], timeout: float) -> Result | None:
        """Wait until what ``holds`` asks the API is true; returns it. A connection that fails is no answer yet."""

        def asked() -> Result | None:
            try:
                return holds()
            except httpx.TransportError:
                return None

        return wait(asked, timeout=timeout)

    def wait_run(self, dag_id: str, run_id: str, timeout: float = PATIENCE) -> str:
        """Wait until the run has ended; returns "success" or "failed"."""

        def ended() -> str | None:
            state = self.request("GET", _run_path(dag_id, run_id))["state"]
            return str(state) if state in ENDED else None

        if state := self.wait(ended, timeout):
            return state
        tasks = {task["task_id"]: task["state"] for task in self.task_instances(dag_id, run_id)}
        raise AirflowError(f"{dag_id} {run_id} has not ended after {timeout:.0f} s; tasks: {tasks}")

    def wait_for_run(
        self,
        dag_id: str,
        matches: Callable[[Json], bool] = lambda _: True,
        *,
        partition_key: str | None = None,
        timeout: float = PATIENCE,
    ) -> Json:
        """Wait until somebody else (a schedule, an asset event) has started a run like this; returns the newest one."""

        def newest() -> Json | None:
            for run in reversed(self.runs(dag_id)):
                if partition_key in (None, run["partition_key"]) and matches(run):
                    return run
            return None

        if run := self.wait(newest, timeout):
            return run
        known = [(run["dag_run_id"], run["partition_key"], run["state"]) for run in self.runs(dag_id)]
        raise AirflowError(f"No matching run of {dag_id} in {timeout:.0f} s; its runs: {known}")

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """Return the tasks of a run, one item per mapped index."""
        return list(self._pages(f"{_run_path(dag_id, run_id)}/taskInstances", "task_instances", order_by="map_index"))

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return the log of one try as the UI shows it: one line per message, extra fields as JSON behind it."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}"
        messages = self.request("GET", path, params={"full_content": True})["content"]
        return "\n".join(_log_line(message) for message in messages)

    def clear(
        self,
        dag_id: str,
        run_id: str,
        task_ids: list[str] | None = None,
        *,
        downstream: bool = True,
        only_failed: bool = False,
    ) -> None:
        """Clear tasks of a run (all of them by default), which makes them run again."""
        body: Json = {"dry_run": False, "dag_run_id": run_id, "include_downstream": downstream}
        body |= {"only_failed": only_failed, "task_ids": task_ids}
        self.request("POST", f"dags/{dag_id}/clearTaskInstances", json=body)

    def asset_events(self, name: str | None = None) -> list[Json]:
        """Return the events of all assets, or of the one called ``name``, oldest first."""

        events: list[Json] = []

        def answered() -> bool:
            try:
                events[:] = self._pages("assets/events", "asset_events", order_by="timestamp")
            except AirflowError as error:
                # Until a run that an event has created starts, Airflow 3.3 answers so: it expects the start's time.
                if " 500: " not in str(error):
                    raise
                return False
            return True

        if not self.wait(answered, PATIENCE):
            raise AirflowError(f"The events of assets could not be read for {PATIENCE:.0f} s.")
        return [event for event in events if name in (None, event["name"])]

    def _pages(self, path: str, field: str, **params: str) -> Iterator[Json]:
        offset = 0
        while page := self.request("GET", path, params={**params, "limit": 100, "offset": offset})[field]:
            yield from page
            offset += len(page)
            if len(page) < 100:
                return


class _Token(httpx.Auth):
    """Log in on the first request and whenever the token is refused, as after a restart of the server."""

    requires_response_body = True

    def __init__(self, url: str, user: str, password: str) -> None:
        self._login = httpx.Request("POST", f"{url}/auth/token", json={"username": user, "password": password})
        self._token: str | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
            response = yield request
            if response.status_code != httpx.codes.UNAUTHORIZED:
                return
        login = yield self._login
        if login.is_error:
            raise AirflowError(f"The login was answered {login.status_code}: {login.text}")
        self._token = login.json()["access_token"]
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def _inherited() -> dict[str, str]:
    """Return the surrounding environment without what would change Airflow or make Python compile it every time."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AIRFLOW") and name != "PYTHONDONTWRITEBYTECODE"
    }


def _settings(**options: object) -> dict[str, str]:
    return {f"AIRFLOW__{name.upper()}": str(value) for name, value in options.items()}


def _kept_secrets(file: Path) -> dict[str, str]:
    """Return the secrets in ``file``, made on the first use: sessions and encrypted connections survive a restart."""
    if not file.exists():
        made = {
            "password": secrets.token_urlsafe(12),
            "jwt_secret": secrets.token_urlsafe(64),
            "api_secret_key": secrets.token_urlsafe(32),
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }
        _write_private(file, json.dumps(made, indent=1))
    kept: dict[str, str] = json.loads(file.read_text())
    return kept


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(text)


def _last_lines(text: str, count: int = 40) -> str:
    return "\n".join(text.splitlines()[-count:])


def _run_path(dag_id: str, run_id: str) -> str:
    return f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def _log_line(message: Json) -> str:
    rest = {name: value for name, value in message.items() if name not in ("timestamp", "event")}
    return f"{message['event']} {json.dumps(rest)}" if rest else str(message["event"])
