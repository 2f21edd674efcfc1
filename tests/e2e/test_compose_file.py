"""docker-compose.yml, its .env.example and the Dockerfile agree with each other and with the service."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from service.cli import app
from service.settings import Settings
from tests.e2e import compose

ENVIRONMENT = {"COMPOSE_PROFILES": "cpu", "VALKEY_PASSWORD": "valkey-secret", "POSTGRES_PASSWORD": "postgres-secret"}
OURS = {"api": "api", "learner": "learner", "learner-gpu": "learner"}
"""Services that run our image, and their roles."""

DOCKERFILE = (compose.ROOT / "Dockerfile").read_text().replace("\\\n", "")


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    return compose.load()


@pytest.fixture(scope="module")
def services(written: dict[str, Any]) -> dict[str, Any]:
    """As they run, with the passwords of ENVIRONMENT."""
    found: dict[str, Any] = compose.interpolated(written["services"], ENVIRONMENT)
    return found


def instruction(name: str) -> list[str]:
    """The arguments of a Dockerfile's instruction in its last stage."""
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM") :]
    return re.findall(rf"^{name} +(.*)$", last_stage, re.MULTILINE)


def test_the_file_follows_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(compose.FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_services_are_those_that_the_tests_know(services: dict[str, Any]) -> None:
    assert services.keys() == OURS.keys() | {"valkey", "postgres"}
    assert {name: services[name]["environment"]["AMSTREAM_ROLE"] for name in OURS} == OURS


def test_only_the_api_is_published_and_by_default_on_loopback(services: dict[str, Any]) -> None:
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "api": ["127.0.0.1:8707:8707"]
    }
    assert not any("network_mode" in service or "privileged" in service for service in services.values())


def test_the_stores_and_learners_are_on_a_network_without_a_way_out(written: dict[str, Any]) -> None:
    networks = {name: service["networks"] for name, service in written["services"].items()}
    assert networks.pop("api") == ["front", "stores"]
    assert all(joined == ["stores"] for joined in networks.values())
    assert written["networks"]["stores"] == {"internal": True}


def test_no_password_stands_in_the_file(written: dict[str, Any]) -> None:
    secrets = {name for name in compose.variables(written).required if name.endswith("PASSWORD")}
    assert secrets == {"VALKEY_PASSWORD", "POSTGRES_PASSWORD"}
    without = [compose.VARIABLE.sub("", text) for text in compose.texts(written)]
    assert not any(re.search(r"://[^/]*:[^@/]+@", text) for text in without)
    options = written["services"]["valkey"]["command"]
    given = [
        options[options.index("--requirepass") + 1],
        written["services"]["valkey"]["environment"]["VALKEYCLI_AUTH"],
        written["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"],
    ]
    assert all(re.fullmatch(r"\$\{\w+_PASSWORD:\?[^}]+\}", value) for value in given)


def test_nothing_starts_without_the_passwords_and_a_choice_of_learner(written: dict[str, Any]) -> None:
    for name in ENVIRONMENT:
        with pytest.raises(KeyError, match=name):
            compose.interpolated(written, ENVIRONMENT | {name: ""})


def test_the_example_of_an_env_file_lists_what_the_file_requires_and_what_it_lets_one_choose(
    written: dict[str, Any],
) -> None:
    assert compose.example() == compose.variables(written)
    assert not re.search(r"PASSWORD=.", compose.EXAMPLE.read_text())
    assert ".env" in (compose.ROOT / ".gitignore").read_text().splitlines()


def test_every_service_is_checked_restarted_and_confined(services: dict[str, Any]) -> None:
    for service in services.values():
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert service["restart"] == "unless-stopped"
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_ours_wait_until_the_stores_are_healthy(services: dict[str, Any]) -> None:
    healthy = {"condition": "service_healthy"}
    for name in OURS:
        assert services[name]["depends_on"] == {"postgres": healthy, "valkey": healthy}


def test_exactly_one_learner_is_in_each_profile_and_only_that_for_the_gpu_reserves_one(
    services: dict[str, Any],
) -> None:
    assert {name: service.get("profiles") for name, service in services.items() if "profiles" in service} == {
        "learner": ["cpu"],
        "learner-gpu": ["gpu"],
    }
    [device] = services["learner-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert not any("deploy" in service for name, service in services.items() if name != "learner-gpu")


def test_both_learners_use_one_data_directory_whose_lock_keeps_them_apart(services: dict[str, Any]) -> None:
    assert services["learner"]["volumes"] == services["learner-gpu"]["volumes"] == ["learner:/data"]
    assert {services[name]["environment"]["AMSTREAM_NODE"] for name in ("learner", "learner-gpu")} == {"learner"}


def test_every_volume_is_declared_and_has_one_kind_of_user(written: dict[str, Any]) -> None:
    used = {volume.split(":")[0] for service in written["services"].values() for volume in service["volumes"]}
    assert used == set(written["volumes"])


@pytest.mark.parametrize("name", OURS)
def test_the_environment_is_one_that_the_service_accepts(
    name: str, services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = services[name]["environment"]
    unknown = {key for key in environment if key.removeprefix("AMSTREAM_").lower() not in Settings.model_fields}
    assert unknown == set()
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    settings = Settings()
    assert settings.role == OURS[name]
    assert settings.redis_url == "redis://:valkey-secret@valkey:6379/0"
    assert not settings.embedded_redis


def test_the_database_url_names_the_user_and_database_that_the_image_creates(services: dict[str, Any]) -> None:
    made = services["postgres"]["environment"]
    url = make_url(services["api"]["environment"]["AMSTREAM_DATABASE_URL"])
    assert (url.username, url.password, url.database) == (made["POSTGRES_USER"], "postgres-secret", made["POSTGRES_DB"])
    assert (url.drivername, url.host, url.port) == ("postgresql+psycopg", "postgres", 5432)


@pytest.mark.parametrize("name", OURS)
def test_the_command_is_one_of_the_script(name: str, services: dict[str, Any]) -> None:
    [command, *options] = services[name]["command"]
    result = CliRunner().invoke(app, [command, *options, "--help"])
    assert result.exit_code == 0
    assert "Usage: amstream serve" in result.output


def test_the_image_starts_the_script_with_settings_that_exist() -> None:
    project = tomllib.loads((compose.ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["amstream"] == "service.cli:main"
    assert instruction("ENTRYPOINT") == ['["amstream"]']
    assert instruction("CMD") == ['["serve"]']
    names = {name for line in instruction("ENV") for name in re.findall(r"AMSTREAM_(\w+)=", line)}
    assert names == {"HOST", "DATA_DIR"}
    assert {name.lower() for name in names} <= Settings.model_fields.keys()
    assert instruction("EXPOSE") == [str(Settings.model_fields["port"].default)]


def test_the_image_runs_as_an_ordinary_user() -> None:
    assert instruction("USER") == ["amstream"]


def test_the_image_checks_its_health_as_the_file_does(services: dict[str, Any]) -> None:
    [healthcheck] = instruction("HEALTHCHECK")
    check = healthcheck[healthcheck.index("CMD") + len("CMD") :]
    for name in OURS:
        assert ["CMD", *json.loads(check)] == services[name]["healthcheck"]["test"]


def test_what_the_image_is_built_from_exists_and_is_in_the_build_context() -> None:
    lines = (compose.ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        source
        for arguments in re.findall(r"^COPY +(?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in arguments.split()[:-1]
    }
    assert {source.removesuffix("/pyproject.toml") for source in copied} == allowed
    assert all((compose.ROOT / source).exists() for source in copied)


def test_the_wheel_carries_what_migrating_needs() -> None:
    tools = tomllib.loads((compose.ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert {"models*", "service*", "migrations*"} <= set(tools["packages"]["find"]["include"])
    assert "*.mako" in tools["package-data"]["*"]
    assert all((compose.ROOT / "migrations" / part / "__init__.py").exists() for part in ("", "versions"))
