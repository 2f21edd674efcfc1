"""Two processes that each do everything: one learns a model, the other stands by and serves the same versions."""

from __future__ import annotations

import asyncio

from fastapi.testclient import TestClient

from service.publications import Publications
from service.redis_clients import async_client
from service.services import Services
from service.settings import Settings
from service.weights import cancelled, follow_while
from tests.service.api import GOOD, assembled, learned, running
from tests.service.learning import eventually


def answers(http: TestClient, model: str, entry: str) -> bool:
    """Whether it predicts with a version that includes the entry."""
    asked = http.get(f"{model}/predictions", params={"x": "0,0,0", "min_entry": entry})
    return asked.status_code == 200 and asked.json()["applied_entry"] >= entry


def test_a_standby_serves_what_another_process_learns(
    http: TestClient, services: Services, model: str, settings: Settings, redis_url: str, sqlite_url: str
) -> None:
    before = learned(http, model, [GOOD] * 4)
    other = assembled(settings, redis_url, sqlite_url, node="other")
    assert other.supervisor is not None
    with running(other) as standby:
        eventually(other.supervisor.stands_by)
        assert standby.get(f"{model}/predictions", params={"x": "0,0,0"}).status_code == 200
        entry = learned(http, model, [GOOD] * 40)
        assert entry > before
        assert answers(standby, model, entry)
        posted = standby.post(f"{model}/samples", json={"samples": [GOOD]}).json()["entries"][0]
        assert answers(standby, model, posted)
        assert answers(http, model, posted)
    assert services.supervisor is not None
    assert not services.supervisor.stands_by()


def test_a_standby_that_takes_over_goes_on_from_what_it_served(
    model: str, http: TestClient, services: Services, settings: Settings, redis_url: str, sqlite_url: str
) -> None:
    other = assembled(settings, redis_url, sqlite_url, node="other")
    assert other.supervisor is not None
    with running(other) as standby:
        eventually(other.supervisor.stands_by)
        entry = learned(http, model, [GOOD] * 8)
        assert answers(standby, model, entry)
        assert services.supervisor is not None
        services.supervisor.stop()
        supervisor = other.supervisor
        eventually(lambda: not supervisor.stands_by())
        assert answers(standby, model, entry)
        assert answers(standby, model, standby.post(f"{model}/samples", json={"samples": [GOOD]}).json()["entries"][0])


def test_following_stops_while_it_is_not_needed(redis_url: str) -> None:
    async def scenario() -> list[bool]:
        needed, seen = True, []
        async with async_client(redis_url) as client:
            before = await client.pubsub_numpat()
            following = asyncio.create_task(follow_while(lambda: needed, client, Publications(), check_s=0.01))
            for wanted in (True, False, True):
                needed = wanted
                for _ in range(1000):
                    follows = await client.pubsub_numpat() > before
                    if follows == wanted:
                        break
                    await asyncio.sleep(0.01)
                seen.append(follows)
            await cancelled(following)
        return seen

    assert asyncio.run(scenario()) == [True, False, True]
