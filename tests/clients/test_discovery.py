from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from amstream_client import Client, KeyNotFound
from amstream_client.discovery import DEFAULT_URL, discover


def write_key(directory: Path, key: str = "amk_file\n") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "admin.key"
    path.write_text(key)
    return path


def test_arguments_win_over_the_environment() -> None:
    environ = {"AMSTREAM_URL": "http://env", "AMSTREAM_KEY": "amk_env"}
    assert discover("http://argument", "amk_argument", environ) == ("http://argument", "amk_argument")
    assert discover(None, None, environ) == ("http://env", "amk_env")


def test_without_either_it_is_the_service_on_this_machine(tmp_path: Path) -> None:
    write_key(tmp_path)
    assert discover(None, None, {"AMSTREAM_DATA_DIR": str(tmp_path)}) == (DEFAULT_URL, "amk_file")


def test_the_data_directory_is_below_xdg_data_home_by_default(tmp_path: Path) -> None:
    write_key(tmp_path / "amstream")
    assert discover(None, None, {"XDG_DATA_HOME": str(tmp_path)}) == (DEFAULT_URL, "amk_file")


def test_a_variable_that_is_set_to_nothing_is_not_set(tmp_path: Path) -> None:
    write_key(tmp_path)
    environ = {"AMSTREAM_URL": "", "AMSTREAM_KEY": "", "AMSTREAM_DATA_DIR": str(tmp_path)}
    assert discover(None, None, environ) == (DEFAULT_URL, "amk_file")


def test_a_missing_key_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(KeyNotFound) as caught:
        discover(None, None, {"AMSTREAM_DATA_DIR": str(tmp_path)})
    path = tmp_path / "admin.key"
    assert str(caught.value) == (
        f"no API key: AMSTREAM_KEY is not set, and there is no {path};"
        " perhaps no service was started on this machine yet: `amstream serve` starts one"
    )


def test_an_empty_or_garbled_key_file_is_named(tmp_path: Path) -> None:
    path = write_key(tmp_path, "\n")
    with pytest.raises(KeyNotFound, match=r"admin\.key is empty"):
        discover(None, None, {"AMSTREAM_DATA_DIR": str(tmp_path)})
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(KeyNotFound, match=r"admin\.key: not a key"):
        discover(None, None, {"AMSTREAM_DATA_DIR": str(tmp_path)})


def test_the_admin_key_of_this_machine_is_sent_to_no_other(tmp_path: Path) -> None:
    write_key(tmp_path)
    with pytest.raises(KeyNotFound, match=r"no API key for https://example\.org"):
        discover("https://example.org", None, {"AMSTREAM_DATA_DIR": str(tmp_path)})


def test_a_client_from_the_environment_carries_the_key() -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), request.headers["Authorization"]))
        return httpx.Response(200, json={"models": []})

    environ = {"AMSTREAM_URL": "http://env:1", "AMSTREAM_KEY": "amk_env"}
    with Client.from_environment(environ=environ, transport=httpx.MockTransport(answer)) as client:
        client.models()
    assert seen == [("http://env:1/v1/models", "Bearer amk_env")]
