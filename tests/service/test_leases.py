from __future__ import annotations

import time
import uuid

import pytest
from sqlalchemy.exc import DBAPIError

from service import database
from service.database import Sessions, connect, sessions
from service.repositories import leases, models


@pytest.fixture
def model_id(factory: Sessions) -> str:
    model_id = str(uuid.uuid4())
    with factory.begin() as session:
        models.add(session, model_id=model_id, name="m", spec="{}", stream_uuid="u")
    return model_id


def take(factory: Sessions, model_id: str, holder: str, lease_s: float = 30.0) -> int | None:
    with factory.begin() as session:
        return leases.take(session, model_id, holder=holder, lease_s=lease_s)


def test_an_epoch_known_from_elsewhere_is_outranked(factory: Sessions, model_id: str) -> None:
    for above, epoch in ((41, 42), (7, 43)):
        with factory.begin() as session:
            assert leases.take(session, model_id, holder="a", lease_s=30.0, above=above) == epoch


def hold(factory: Sessions, model_id: str, epoch: int) -> bool:
    with factory.begin() as session:
        return leases.hold(session, model_id, epoch, lease_s=30.0)


def test_every_taking_raises_the_epoch_and_fences_the_one_before(factory: Sessions, model_id: str) -> None:
    assert take(factory, model_id, "a") == 1
    assert take(factory, model_id, "a") == 2
    assert not hold(factory, model_id, 1)
    assert hold(factory, model_id, 2)


def test_a_running_lease_is_not_given_to_another(factory: Sessions, model_id: str) -> None:
    assert take(factory, model_id, "a") == 1
    assert take(factory, model_id, "b") is None
    assert hold(factory, model_id, 1)


def test_an_expired_lease_goes_to_another(factory: Sessions, model_id: str) -> None:
    assert take(factory, model_id, "a", lease_s=0.01) == 1
    time.sleep(0.02)
    assert take(factory, model_id, "b") == 2
    assert not hold(factory, model_id, 1)


def test_a_released_lease_is_free_at_once(factory: Sessions, model_id: str) -> None:
    assert take(factory, model_id, "a") == 1
    with factory.begin() as session:
        assert leases.release(session, model_id, 1)
    assert take(factory, model_id, "b") == 2


def test_a_clock_set_back_does_not_hold_a_model_for_ever(factory: Sessions, model_id: str) -> None:
    assert take(factory, model_id, "a", lease_s=86_400.0) == 1
    assert take(factory, model_id, "b", lease_s=10.0) == 2


def test_seizing_outranks_whoever_holds_it(factory: Sessions, model_id: str) -> None:
    assert take(factory, model_id, "a") == 1
    with factory.begin() as session:
        assert leases.seize(session, model_id) == 2
    assert not hold(factory, model_id, 1)
    assert take(factory, model_id, "b") == 3


def test_postgresql_frees_a_lease_whose_holder_fell_silent_in_a_transaction(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LONGEST_SILENCE_S", 1)
    engine = connect(postgres_url)
    factory = sessions(engine)
    model_id = str(uuid.uuid4())
    with factory.begin() as session:
        models.add(session, model_id=model_id, name="m", spec="{}", stream_uuid="u")
    silent = factory()
    assert leases.take(silent, model_id, holder="a", lease_s=30.0) == 1
    assert take(factory, model_id, "b") == 1  # waited for the other's transaction, which came to nothing
    with pytest.raises(DBAPIError):
        silent.commit()
    silent.close()
    engine.dispose()
