"""The container files, as far as they can be checked without an engine: schema, versions, health, users, secrets."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.main import get_command

from infra.cli.main import app
from tests.support.project import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STEPS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines()
    if line and not line.startswith("#")
]
POM = ROOT / "tests" / "kafka" / "pom.xml"
VERSIONED = re.compile(r"[\w./-]+:\d+\.\d+(\.\d+)?[\w.-]*(@sha256:[0-9a-f]{64})?")
SECRET = re.compile(r"password|secret|token|private_key|master_key", re.I)
FROM_ENVIRONMENT = re.compile(r"\$\{\w+:\?[^}]+\}")


def test_the_file_follows_the_compose_specification() -> None:
    # Found, not imported: the package's command line needs not run for its schema to be read.
    spec = find_spec("check_jsonschema")
    assert spec is not None
    assert spec.origin is not None
    schema = json.loads((Path(spec.origin).parent / "builtin_schemas/vendor/compose-spec.json").read_text("utf-8"))
    errors = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(COMPOSE)]
    assert errors == []


def test_every_secret_comes_from_the_environment_and_is_required() -> None:
    named = {
        f"{service}.{name}": value
        for service, one in SERVICES.items()
        for name, value in one.get("environment", {}).items()
        if SECRET.search(name)
    }
    assert {"postgres.POSTGRES_PASSWORD", "worker.PGPASSWORD", "worker.KEHU_MASTER_KEY"} <= named.keys()
    assert [name for name, value in named.items() if not FROM_ENVIRONMENT.fullmatch(value)] == []
    assert not re.search(r"password=|://[^/\s]*:[^/\s]*@", (ROOT / "docker-compose.yml").read_text("utf-8"))


@pytest.mark.parametrize("service", SERVICES)
def test_every_image_has_an_explicit_version(service: str) -> None:
    assert VERSIONED.fullmatch(SERVICES[service]["image"])


@pytest.mark.parametrize("service", [name for name, one in SERVICES.items() if one["restart"] != "no"])
def test_what_runs_on_has_a_healthcheck_and_starts_again(service: str) -> None:
    assert SERVICES[service]["restart"] == "unless-stopped"
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"


def test_containers_run_commands_that_exist() -> None:
    group: Any = get_command(app)
    checks = [one["healthcheck"]["test"] for one in SERVICES.values() if "build" in one and "healthcheck" in one]
    checks += [json.loads(rest.partition("CMD ")[2]) for step, rest in STEPS if step == "HEALTHCHECK"]
    assert len(checks) == 2
    for check in checks:
        *runner, command = check[check.index("python") :][:4]
        assert runner == ["python", "-m", "infra.cli"]
        assert command in group.commands
    assert {one["command"][0] for one in SERVICES.values() if "build" in one} <= group.commands.keys()


def test_servers_keep_their_data_in_named_volumes() -> None:
    kept = {volume for one in SERVICES.values() for volume in one.get("volumes", ())}
    assert {volume.partition(":")[0] for volume in kept} == COMPOSE["volumes"].keys()
    assert "postgres-data:/var/lib/postgresql" in kept
    log_dirs = SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]
    assert f"kafka-data:{log_dirs}" in kept


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for one in SERVICES.values() for port in one.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_worker_is_built_here_and_waits_for_the_setup() -> None:
    for name in ("setup", "worker"):
        assert SERVICES[name]["build"] == {"context": ".", "dockerfile": "Dockerfile"}
        assert SERVICES[name]["command"] == [name]
    assert SERVICES["worker"]["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}
    assert {one["condition"] for one in SERVICES["setup"]["depends_on"].values()} == {"service_healthy"}


def test_the_broker_is_one_node_whose_internal_topics_need_one_replica() -> None:
    settings = SERVICES["kafka"]["environment"]
    assert settings["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert settings["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    replicas = {name: value for name, value in settings.items() if re.search("REPLICATION_FACTOR|ISR|INSYNC", name)}
    assert len(replicas) >= 6
    assert set(replicas.values()) == {"1"}
    # Everything but text would be changed by YAML on its way: `false` to False, 1 to int.
    assert all(isinstance(value, str) for value in settings.values())


def test_the_broker_is_of_the_version_that_the_tests_run() -> None:
    (tested,) = re.findall(
        r"<artifactId>kafka_2\.13</artifactId>\s*<version>([\d.]+)</version>", POM.read_text("utf-8")
    )
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{tested}"


def test_the_image_runs_from_the_lock_file_as_nobody_special() -> None:
    bases = [rest for step, rest in STEPS if step == "FROM"]
    assert len(bases) == 2
    assert all(re.match(r"python:3\.11\.\d+-slim-bookworm(@sha256:\w{64})?( AS \w+)?$", base) for base in bases)
    (install,) = [rest for step, rest in STEPS if step == "RUN" and "pip install" in rest]
    for option in ("--require-hashes", "--only-binary=:all:", "--no-cache-dir", "-r requirements.lock"):
        assert option in install
    users = [rest for step, rest in STEPS if step == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    assert ["ENTRYPOINT", '["python", "-m", "infra.cli"]'] in STEPS
    assert "HEALTHCHECK" in [step for step, _ in STEPS]


def test_only_what_runs_is_copied_and_let_through() -> None:
    copied = [rest.split() for step, rest in STEPS if step == "COPY" and not rest.startswith("--from")]
    assert [source for source, *_ in copied] == [
        *("requirements.lock", "domain", "projections", "consumers", "infra", "examples")
    ]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == {source for source, *_ in copied}
