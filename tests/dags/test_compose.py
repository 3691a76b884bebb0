"""The deployment on real hosts: the compose files, the secrets, the image, and what the documents say about them."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from cryptography.fernet import Fernet
from dagkit import connections, notifications

from include.errors import RequestRefused
from include.scripts.make_env import make_env

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / ".env.example"
HOST, WORKER = REPOSITORY / "docker-compose.yaml", REPOSITORY / "docker-compose.worker.yaml"
DOCUMENT = (REPOSITORY / "docs" / "production.md").read_text()
SYSTEMS = ("commercial_log", "cvas")

SETTINGS = {
    "BASE_URL": "http://localhost:8080",
    "AIRFLOW_UID": "50000",
    "DATA": "/srv/data",
    "DATA_GID": "50000",
    "ADMIN_USER": "admin",
    "ADMIN_EMAIL": "admin@example.org",
}
SECRETS = {"ADMIN_PASSWORD", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "FERNET_KEY", "JWT_SECRET", "API_SECRET_KEY"}
OPTIONAL = {"QUEUES", "WORKER_HOSTNAME", "WORKER_LISTEN", "REDIS_LISTEN", "REDIS_HOST", "EXECUTION_API_URL"}

VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(:[?-])([^}]*)\}")


def variables_of(file, kind):
    return {name for name, operator, _ in VARIABLE.findall(file.read_text()) if operator == kind}


def resolved(node, values):
    """What compose makes of the text of a file: ``${NAME:?text}`` and ``${NAME:-default}``, nothing else is used."""
    if isinstance(node, dict):
        return {key: resolved(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [resolved(value, values) for value in node]
    if isinstance(node, str):
        return VARIABLE.sub(lambda match: values[match[1]] if match[2] == ":?" else match[3], node)
    return node


def services_of(values):
    assert yaml.safe_load(HOST.read_text())["include"] == [WORKER.name]
    files = (resolved(yaml.safe_load(file.read_text()), values) for file in (HOST, WORKER))
    return {name: service for file in files for name, service in file["services"].items()}


@pytest.fixture
def services():
    """Every service, with ``<NAME>`` where the value of a secret would be."""
    return services_of(SETTINGS | {name: f"<{name}>" for name in SECRETS})


def values_in(file):
    return dict(line.split("=", 1) for line in file.read_text().splitlines() if line and not line.startswith("#"))


def queues_of(worker):
    return set(worker["command"][worker["command"].index("--queues") + 1].split(","))


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_the_files_ask_for_exactly_what_the_example_names():
    assert variables_of(HOST, ":?") | variables_of(WORKER, ":?") == set(SETTINGS) | SECRETS
    assert variables_of(HOST, ":-") | variables_of(WORKER, ":-") == OPTIONAL
    assert values_in(EXAMPLE) == SETTINGS | dict.fromkeys(SECRETS, "")
    assert set(re.findall(r"^# (\w+)=", EXAMPLE.read_text(), re.MULTILINE)) == OPTIONAL


def test_a_second_host_needs_no_secret_of_the_metadata_database():
    assert variables_of(WORKER, ":?") == {
        "AIRFLOW_UID",
        "API_SECRET_KEY",
        "BASE_URL",
        "DATA",
        "DATA_GID",
        "REDIS_PASSWORD",
    }


def test_every_service_gets_only_the_secrets_it_uses(services):
    airflow = {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "FERNET_KEY", "JWT_SECRET", "API_SECRET_KEY"}
    assert {name: set(re.findall(r"<(\w+)>", json.dumps(service))) for name, service in services.items()} == {
        "postgres": {"POSTGRES_PASSWORD"},
        "redis": {"REDIS_PASSWORD"},
        "airflow-init": airflow | {"ADMIN_PASSWORD"},
        "api-server": airflow,
        "scheduler": airflow,
        "dag-processor": airflow,
        "triggerer": airflow,
        "worker": {"REDIS_PASSWORD", "API_SECRET_KEY"},
    }


def test_no_password_is_written_in_the_files(services):
    """Whatever is called a secret, and every password in a URL, is one of .env and nothing beside it."""
    for name, service in services.items():
        for variable, value in service["environment"].items():
            if re.search(r"PASSWORD|SECRET|KEY$|AUTH$", variable):
                assert value.strip("<>") in SECRETS, f"{name}: {variable}"
            for password in re.findall(r"://[^/]*:([^/]*)@", value):
                assert password.strip("<>") in SECRETS, f"{name}: {variable}"
        arguments = json.dumps([service.get("command"), service.get("healthcheck")])
        assert not re.search(r"<\w+>", arguments), f"{name}: everybody can read the arguments of a process"


def test_make_env_fills_every_secret_for_its_owner_only(tmp_path):
    made = make_env(EXAMPLE, tmp_path / ".env")
    values = values_in(tmp_path / ".env")
    secrets = {name: values[name] for name in SECRETS}
    assert set(made) == SECRETS
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert {name: values[name] for name in values.keys() - SECRETS} == SETTINGS
    assert len(set(secrets.values())) == len(SECRETS)
    assert all(re.fullmatch(r"[\w=-]{44,}", value) for value in secrets.values()), "some would need quotes in a URL"
    assert len(values["JWT_SECRET"].encode()) >= 64
    Fernet(values["FERNET_KEY"])
    services_of(values)


def test_make_env_twice_changes_nothing(tmp_path):
    make_env(EXAMPLE, tmp_path / ".env")
    before = (tmp_path / ".env").read_bytes()
    with pytest.raises(RequestRefused, match=r"\.env already"):
        make_env(EXAMPLE, tmp_path / ".env")
    assert (tmp_path / ".env").read_bytes() == before


# --- services ---------------------------------------------------------------------------------------------------------


def test_every_service_that_stays_has_a_health_check_and_is_started_again(services):
    assert {
        name: (service["restart"], (service.get("healthcheck") or {"test": ["NONE"]})["test"][-1])
        for name, service in services.items()
    } == {
        "postgres": ("unless-stopped", "airflow"),
        "redis": ("unless-stopped", "redis-cli ping | grep --quiet PONG"),
        "airflow-init": ("no", "NONE"),
        "api-server": ("unless-stopped", "http://localhost:8080/api/v2/monitor/health"),
        "scheduler": ("unless-stopped", "http://localhost:8974/health"),
        "dag-processor": ("unless-stopped", "--local"),
        "triggerer": ("unless-stopped", "--local"),
        "worker": (
            "unless-stopped",
            "celery --app airflow.providers.celery.executors.celery_executor.app inspect ping"
            ' --destination "celery@$${HOSTNAME}"',
        ),
    }


def test_nothing_starts_before_the_database_is_migrated(services):
    migrated = {"airflow-init": {"condition": "service_completed_successfully"}}
    ready = {name: {"condition": "service_healthy"} for name in ("postgres", "redis")}
    for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
        assert services[name]["depends_on"] == migrated | ready


def test_nothing_listens_outside_the_host_unless_env_says_so(services):
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "api-server": ["127.0.0.1:8080:8080"],
        "redis": ["127.0.0.1:6379:6379"],
        "worker": ["127.0.0.1:8793:8793"],
    }


def test_only_the_worker_sees_data_and_nobody_is_root(services):
    folders = {
        name: [volume for volume in service["volumes"] if isinstance(volume, dict)]
        for name, service in services.items()
    }
    assert {name: found for name, found in folders.items() if found} == {
        "worker": [
            {"type": "bind", "source": "/srv/data", "target": "/data", "bind": {"create_host_path": False}},
        ]
    }
    assert {service.get("user") for name, service in services.items() if name != "postgres"} == {"50000:0", "redis"}


def test_every_queue_of_the_dags_has_a_worker(services, dags):
    queues = {task.queue for dag in dags.values() for task in dag.tasks}
    assert queues
    assert queues <= queues_of(services["worker"])


IN_A_CONTAINER = """
import importlib, json, sys
from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf
from airflow.executors.executor_loader import ExecutorLoader
from airflow.providers_manager import ProvidersManager

ProvidersManager().initialize_providers_configuration()
settings, commands = json.load(sys.stdin)
for name in settings:
    section, option = name.lower().removeprefix("airflow__").split("__")
    assert option in conf.configuration_description[section]["options"], name
assert conf.getimport("core", "auth_manager").__name__ == "FabAuthManager"
assert ExecutorLoader.get_default_executor_name().alias == "CeleryExecutor"
importlib.import_module("airflow.providers.celery.executors.celery_executor_utils")
for command in commands:
    get_parser().parse_args(command)
"""


def test_airflow_knows_every_setting_class_and_command_of_the_files(services, tmp_path):
    """In a process of its own, as in a container: Airflow reads its settings once."""
    settings = sorted({name for service in services.values() for name in service["environment"] if "__" in name})
    processes = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")
    commands = [services[name]["command"] for name in processes]
    checks = [services[name]["healthcheck"]["test"] for name in processes]
    commands += [check[2:] for check in checks if check[1] == "airflow"]
    script = services["airflow-init"]["command"][-1].replace("\\\n", " ")
    commands += [shlex.split(line)[1:] for line in re.findall(r"\bairflow .+", script)]
    assert [command[:2] for command in commands[5:]] == [
        ["jobs", "check"],
        ["jobs", "check"],
        ["db", "migrate"],
        ["pools", "import"],
        ["users", "create"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CONTAINER],
        env={"PATH": "", "AIRFLOW_HOME": str(tmp_path)} | services["scheduler"]["environment"],
        input=json.dumps([settings, commands]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_docker_compose_reads_the_files_as_these_tests_do(tmp_path):
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("The compose plugin of Docker is not installed; no engine is needed.")
    make_env(EXAMPLE, tmp_path / ".env")
    done = subprocess.run(
        ["docker", "compose", "--file", HOST, "--env-file", tmp_path / ".env", "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)["services"]
    expected = services_of(values_in(tmp_path / ".env"))
    assert read.keys() == expected.keys()
    for name, service in expected.items():
        assert read[name]["environment"] == service["environment"]
        assert read[name].get("command") == service.get("command")
        assert read[name].get("user") == service.get("user")
        assert read[name].get("healthcheck", {}).get("test") == service.get("healthcheck", {}).get("test")
        assert read[name]["restart"] == service["restart"]


# --- image and document -----------------------------------------------------------------------------------------------


def test_the_image_holds_the_airflow_of_the_requirements():
    image = re.search(r"^FROM apache/airflow:slim-([\d.]+)-", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    required = re.search(r"^apache-airflow==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    assert image
    assert required
    assert image[1] == required[1]


def test_the_document_shows_every_connection_as_airflow_takes_it(monkeypatch):
    [example] = [json.loads(text) for text in re.findall(r"```json\n(\{.+?\n\})\n```", DOCUMENT, re.DOTALL)]
    assert set(example) == {
        value for value in vars(connections).values() if isinstance(value, str) and value.startswith(SYSTEMS)
    } | {notifications.CONNECTION}
    for name, connection in example.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
    environment = services_of(SETTINGS | dict.fromkeys(SECRETS, ""))["worker"]["environment"]
    assert str(connections.path_of(connections.COMMERCIAL_LOG_DB)) == environment["COMMERCIAL_LOG_DATABASE"]
    assert str(connections.path_of(connections.COMMERCIAL_LOG_FILES)) == environment["COMMERCIAL_LOG_DATA_ROOT"]
    assert str(connections.path_of(connections.CVAS_LAKE)) == environment["CVAS_LAKE"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_document_names_every_setting_with_its_default(system):
    settings = import_module(f"include.{system}.config").Settings()
    [section] = re.findall(rf"^### {system}\n(.+?)(?=^##)", DOCUMENT, re.DOTALL | re.MULTILINE)
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| .+ \|$", section, re.MULTILINE)
    assert {name: json.loads(default) for name, default in rows} == {
        name: list(default) if isinstance(default, tuple) else default for name, default in vars(settings).items()
    }
