"""Settings from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings, default_data_dir


def test_every_setting_has_a_description_and_a_prefix() -> None:
    assert Settings.model_config["env_prefix"] == "AMSTREAM_"
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.alias is None
        assert field.validation_alias is None


def test_settings_are_read_from_the_environment_with_the_prefix_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMSTREAM_PORT", "1234")
    monkeypatch.setenv("AMSTREAM_WAIT_S", "0.5")
    monkeypatch.setenv("PORT", "5")
    monkeypatch.setenv("HOST", "0.0.0.0")
    settings = Settings()
    assert (settings.port, settings.wait_s, settings.host) == (1234, 0.5, "127.0.0.1")


def test_what_is_given_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMSTREAM_PORT", "1234")
    assert Settings(port=1).port == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "x"),
        ("ROLE", "other"),
        ("WAIT_S", "0"),
        ("WAIT_S", "nan"),
        ("IDEMPOTENCY_TTL_S", "inf"),
        ("LEASE_S", "inf"),
        ("THREADS", "0"),
        ("MAX_BODY_BYTES", "-1"),
    ],
)
def test_a_bad_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"AMSTREAM_{name}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [(name.lower(),)]


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]  # that is the point


def test_data_lies_where_the_system_keeps_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / "amstream"
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_data_dir() == Path("/home/somebody/.local/share/amstream")


def test_the_embedded_database_lies_in_the_data_directory(tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path).sqlalchemy_url == f"sqlite:///{tmp_path}/amstream.db"
    assert Settings(data_dir=tmp_path, database_url="sqlite:///x").sqlalchemy_url == "sqlite:///x"
