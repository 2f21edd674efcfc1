"""API keys: random, hashed, scoped, revocable."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from service import keyring
from service.database import sessions
from service.keyring import PREFIX, Caller, Keyring, create_key, ensure_admin_key
from service.problems import Forbidden, Problem, Unauthenticated
from service.repositories import api_keys
from tests.service.api import revoked


def test_a_key_is_known_by_its_secret_alone_which_is_stored_nowhere(engine: Engine) -> None:
    _, secret = create_key(sessions(engine), name="k", scopes=["learn", "predict"], models=["m"])
    _, other = create_key(sessions(engine), name="l", scopes=["admin"])
    assert secret.startswith(PREFIX)
    assert len({secret, other}) == 2
    assert len(secret) >= len(PREFIX) + 43  # 256 bits in base 64
    caller = Keyring(sessions(engine)).look_up(secret)
    assert (caller.name, caller.scopes, caller.models) == ("k", frozenset({"learn", "predict"}), frozenset({"m"}))
    with engine.connect() as connection:
        assert secret not in str(connection.execute(text("SELECT * FROM api_keys")).all())


@pytest.mark.parametrize("secret", ["", "amk_", "amk_unknown", "é\0"])
def test_an_unknown_key_is_nobody(engine: Engine, secret: str) -> None:
    with pytest.raises(Unauthenticated):
        Keyring(sessions(engine)).look_up(secret)


def test_a_key_is_cached_for_a_while_and_a_revoked_one_no_longer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Keyring(sessions(engine))
    _, secret = create_key(sessions(engine), name="k", scopes=["admin"])
    assert ring.cached(secret) is None
    caller = ring.look_up(secret)
    assert ring.cached(secret) == caller
    revoked(sessions(engine), "k")
    monkeypatch.setattr(keyring, "CACHED_S", 0.0)
    assert ring.cached(secret) is None
    with pytest.raises(Unauthenticated):
        ring.look_up(secret)


def test_a_revoked_key_is_refused_within_five_seconds() -> None:
    assert keyring.CACHED_S < 5


def test_the_cache_does_not_grow(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "CACHED_S", 0.0)
    ring = Keyring(sessions(engine))
    for number in range(5):
        ring.look_up(create_key(sessions(engine), name=f"k{number}", scopes=["admin"])[1])
    assert len(vars(ring)["_known"]) == 1


@pytest.mark.parametrize(
    ("name", "scopes", "models", "names"),
    [
        ("k", ["write"], None, "'write'"),
        ("", ["admin"], None, "''"),
        ("a\0b", ["admin"], None, "'a\\x00b'"),
        ("x" * 64, ["admin"], None, "x" * 64),
        ("k", ["admin"], ["Boiler"], "'Boiler'"),
        ("taken", ["admin"], None, "'taken'"),
        ("k", [], None, "scopes = '[]'"),
        ("k", ["admin"], [], "models = '[]'"),
    ],
)
def test_a_bad_key_is_not_created_and_the_message_names_the_value(
    engine: Engine, name: str, scopes: list[str], models: list[str] | None, names: str
) -> None:
    create_key(sessions(engine), name="taken", scopes=["predict"])
    with pytest.raises(Problem, match=re.escape(names)):
        create_key(sessions(engine), name=name, scopes=scopes, models=models)
    with sessions(engine)() as session:
        assert len(api_keys.all_keys(session)) == 1


def test_a_revoked_name_may_be_used_again(engine: Engine) -> None:
    create_key(sessions(engine), name="k", scopes=["admin"])
    revoked(sessions(engine), "k")
    assert create_key(sessions(engine), name="k", scopes=["admin"])


def test_the_first_start_ever_writes_an_admin_key_for_its_owner_alone(engine: Engine, tmp_path: Path) -> None:
    file = ensure_admin_key(sessions(engine), tmp_path)
    assert file is not None
    assert file.stat().st_mode & 0o777 == 0o600
    caller = Keyring(sessions(engine)).look_up(file.read_text().strip())
    assert caller.scopes == {"admin"}
    assert ensure_admin_key(sessions(engine), tmp_path) is None


def caller(*scopes: str, models: frozenset[str] | None = None) -> Caller:
    return Caller("id", "somebody", frozenset(scopes), models)


def test_scopes_allow_what_they_say_and_admin_everything() -> None:
    caller("learn").require("learn", "m")
    caller("admin").require("learn", "m")
    for scope in ("predict", "snapshot", "admin"):
        with pytest.raises(Forbidden, match=f"lacks the scope '{scope}'; it has learn"):
            caller("learn").require(scope, "m")


def test_a_bound_key_is_for_its_models_alone() -> None:
    bound = caller("admin", models=frozenset({"m"}))
    bound.require("admin", "m")
    bound.require_any("m")
    assert (bound.sees("m"), bound.sees("n")) == (True, False)
    for name in ("n", None):
        with pytest.raises(Forbidden, match="is not for"):
            bound.require("admin", name)
    with pytest.raises(Forbidden, match="is not for model 'n'"):
        bound.require_any("n")


def test_a_key_file_that_cannot_be_written_leaves_no_key_in_force(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"admin\.key"):
        ensure_admin_key(sessions(engine), tmp_path / "missing")
    assert ensure_admin_key(sessions(engine), tmp_path) is not None


def test_a_name_is_free_again_once_its_key_is_revoked(engine: Engine) -> None:
    create_key(sessions(engine), name="k", scopes=["learn"])
    with pytest.raises(Problem, match="a key named 'k' already"):
        create_key(sessions(engine), name="k", scopes=["learn"])
    revoked(sessions(engine), "k")
    create_key(sessions(engine), name="k", scopes=["learn"])


@pytest.mark.parametrize("seconds", [0.0, -1.0, 2e9, float("nan"), float("inf")])
def test_a_key_may_hold_for_a_time_only(engine: Engine, seconds: float) -> None:
    with pytest.raises(Problem, match="expires_in_s"):
        create_key(sessions(engine), name="k", scopes=["learn"], expires_in_s=seconds)


def test_an_expired_key_is_refused_whether_it_was_cached_or_not(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Keyring(sessions(engine))
    _, secret = create_key(sessions(engine), name="k", scopes=["learn"], expires_in_s=60)
    caller = ring.look_up(secret)
    assert caller.expires_at is not None
    assert ring.cached(secret) == caller
    monkeypatch.setattr(time, "time", lambda: caller.expires_at)
    assert ring.cached(secret) is None
    with pytest.raises(Unauthenticated):
        ring.look_up(secret)
