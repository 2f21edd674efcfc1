"""`/metrics` on the running application, read as Prometheus reads it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from service import redis_keys as keys
from service.app import create_app
from service.entries import Samples
from service.entry_id import ORIGIN, EntryId
from service.lag import lag_of
from service.publications import Publications
from service.repositories.checkpoints import Position
from service.services import Services
from service.settings import Settings
from tests.service.api import GOOD, assembled, key, learned, refused, running
from tests.service.learning import eventually

ROOT = Path(__file__).parents[2]
SCRAPER = "the token of the one that scrapes"


def scraped(http: TestClient, **labels: str) -> dict[str, float]:
    """Values by sample name, of the samples that have these labels."""
    answer = http.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if labels.items() <= sample.labels.items()
    }


def labels_of(http: TestClient, name: str, label: str) -> set[str]:
    families = text_string_to_metric_families(http.get("/metrics").text)
    return {s.labels[label] for family in families for s in family.samples if s.name == name}


@pytest.fixture
def with_token(settings: Settings, redis_url: str, sqlite_url: str) -> Services:
    settings = settings.model_copy(update={"metrics_token": SecretStr(SCRAPER)})
    return assembled(settings, redis_url, sqlite_url)


def test_predictions_of_a_regression_are_counted_too(http: TestClient) -> None:
    path = "/v1/models/values"
    assert http.put(path, json={"inputs": 3, "hidden": [8], "task": "regression"}).status_code == 201
    entry = learned(http, path, [{"x": [1, 2, 3], "y": 4.5}])
    answer = http.post(f"{path}/predictions", json={"x": [[1, 2, 3], [3, 2, 1]]}, params={"min_entry": entry})
    assert len(answer.json()["values"]) == 2
    assert scraped(http, model="values")["amstream_samples_predicted_total"] == 3


def test_a_model_is_counted_from_its_post_to_its_checkpoint(http: TestClient, model: str, post: Any) -> None:
    learned(http, model, [GOOD] * 8)
    post([GOOD] * 3, **{"Idempotency-Key": "once"})
    post([GOOD] * 3, **{"Idempotency-Key": "once"})
    eventually(lambda: scraped(http, model="m")["amstream_model_samples"] == 11)
    found = scraped(http, model="m")
    assert found["amstream_samples_accepted_total"] == 11
    assert found["amstream_samples_learned_total"] == 11
    assert found["amstream_posts_repeated_total"] == 1
    assert found["amstream_samples_predicted_total"] == 1
    assert found["amstream_learn_duration_seconds_count"] == found["amstream_model_version"] == 3
    assert found["amstream_log_entries"] == 3
    assert found["amstream_lag_entries"] == found["amstream_lag_samples"] == found["amstream_lag_seconds"] == 0
    assert found["amstream_classes"] == 2
    assert scraped(http, model="m", over="ever")["amstream_prequential_accuracy"] > 0.5
    assert scraped(http, model="m", state="learning")["amstream_model_learner"] == 1
    assert scraped(http, state="learning")["amstream_learners"] == 1
    assert http.post(f"{model}/snapshots", json={"name": "s"}).status_code == 201
    found = scraped(http, model="m")
    assert found["amstream_checkpoint_duration_seconds_count"] == 1
    assert found["amstream_last_checkpoint_timestamp_seconds"] > 1e9


def test_what_is_not_learned_yet_is_the_lag(http: TestClient, model: str, services: Services, post: Any) -> None:
    learned(http, model, [GOOD] * 8)
    model_id = http.get(model).json()["id"]
    lag = lag_of(services.sync_redis, model_id, Position(ORIGIN, 0, 0))
    assert (lag.entries, lag.samples, lag.length) == (2, 8, 2)
    assert 0 <= lag.age_s < 60
    first, last = map(EntryId.parse, post([GOOD] * 5).json()["entries"])
    assert lag_of(services.sync_redis, model_id, Position(first, 3, 12)).samples == 1
    behind_none = lag_of(services.sync_redis, model_id, Position(last, 4, 13))
    assert (behind_none.entries, behind_none.samples, behind_none.age_s, behind_none.length) == (0, 0, 0, 4)


def test_labels_that_came_later_are_samples_of_the_log_too(services: Services, http: TestClient, model: str) -> None:
    learned(http, model, [GOOD] * 8)

    asked = {"x": [[0, 0, 0], [1, 1, 1]]}
    ids = http.post(f"{model}/predictions", json=asked, params={"track": True}).json()["ids"]
    for one in ids:
        assert http.put(f"{model}/predictions/{one}/label", json={"label": "no"}).status_code in (200, 202)
    model_id = http.get(model).json()["id"]
    assert services.sync_redis.get(keys.samples_added(model_id)) == b"10"
    newest: Any = services.sync_redis.xrevrange(keys.stream(model_id), count=1)
    assert newest[0][1][keys.SAMPLES_BEFORE.encode()] == b"9"


def test_requests_are_counted_by_the_template_of_their_route(http: TestClient, model: str) -> None:
    for path in ("/v1/models/m", "/v1/models/never", "/wp-login.php", "/v1/nothing/1"):
        http.get(path)
    http.request("BREW", "/v1/models/m")
    assert scraped(http, method="GET", route="/v1/models/{name}", status="200")["amstream_http_requests_total"] == 1
    assert scraped(http, method="GET", route="/v1/models/{name}", status="404")["amstream_http_requests_total"] == 1
    assert scraped(http, method="GET", route="(none)", status="404")["amstream_http_requests_total"] == 2
    assert scraped(http, problem="unknown-model")["amstream_problems_total"] == 1
    assert labels_of(http, "amstream_http_requests_total", "method") == {"GET", "PUT", "other"}
    templates = {route.path for route in http.app.routes if hasattr(route, "path")}  # type: ignore[attr-defined]
    described = set(http.get("/openapi.json").json()["paths"]) | templates
    assert labels_of(http, "amstream_http_requests_total", "route") <= described | {"(none)"}
    found = scraped(http)
    assert found["amstream_http_requests_in_progress"] == 1


def test_a_poisoned_entry_counts_as_a_dead_letter(http: TestClient, model: str, services: Services) -> None:
    learned(http, model, [GOOD] * 4)
    assert scraped(http, model="m")["amstream_dead_letters_total"] == 0
    services.sync_redis.xadd(keys.stream(http.get(model).json()["id"]), {keys.FIELD: b"garbage"})
    eventually(lambda: scraped(http, model="m")["amstream_dead_letters_total"] == 1)


def test_nothing_is_said_of_a_model_that_was_deleted(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD] * 4)
    assert "m" in labels_of(http, "amstream_samples_learned_total", "model")
    assert http.delete(model).status_code == 204
    eventually(lambda: 'model="m"' not in http.get("/metrics").text)


def test_regression_has_its_own_figures(http: TestClient, services: Services) -> None:
    spec = {"task": "regression", "inputs": 2, "hidden": [4], "block": {"size": 4}}
    assert http.put("/v1/models/values", json=spec).status_code == 201
    values = Samples(np.ones((8, 2), np.float32), [float(i) for i in range(8)], None)

    async def post() -> None:
        await services.ingest.post(await services.catalog.get("values"), values, None)

    assert http.portal is not None
    http.portal.call(post)
    eventually(lambda: "amstream_prequential_mae" in scraped(http, model="values", over="ever"))
    assert "amstream_prequential_accuracy" not in scraped(http, model="values", over="ever")


def test_the_token_opens_the_metrics_and_nothing_else(with_token: Services) -> None:
    with running(with_token) as http:
        headers = {"Authorization": f"Bearer {SCRAPER}"}
        assert http.get("/metrics", headers=headers).status_code == 200
        assert refused(http.get("/v1/models", headers=headers), 401, "unauthenticated") == []
        assert http.get("/metrics", headers=key(with_token, "predict", name="p")).status_code == 200


def test_the_metrics_ask_for_a_key_that_is_for_all_models(http: TestClient, services: Services) -> None:
    assert http.get("/metrics", headers=key(services, "predict", name="all")).status_code == 200
    one = key(services, "admin", name="one", models=["m"])
    assert refused(http.get("/metrics", headers=one), 403, "forbidden") == []
    assert http.get("/metrics", headers={"Authorization": "Bearer amk_guessed"}).status_code == 401
    del http.headers["Authorization"]
    assert http.get("/metrics").status_code == 401


def test_whoever_asks_for_openmetrics_gets_it(http: TestClient) -> None:
    answer = http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@contextlib.contextmanager
def in_role(role: str, settings: Settings, redis_url: str, sqlite_url: str) -> Iterator[TestClient]:
    services = assembled(settings.model_copy(update={"role": role}), redis_url, sqlite_url, node=role)
    headers = key(services, "admin", name=f"admin-{role}")
    with TestClient(create_app(services), headers=headers) as http:
        yield http


def test_either_role_says_how_far_its_models_are(
    http: TestClient, model: str, settings: Settings, redis_url: str, sqlite_url: str
) -> None:
    learned(http, model, [GOOD] * 8)
    assert http.post(f"{model}/snapshots", json={"name": "s"}).status_code == 201
    with in_role("api", settings, redis_url, sqlite_url) as api:
        found = scraped(api, model="m")
        assert (found["amstream_model_samples"], found["amstream_lag_samples"]) == (8, 0)
        assert "amstream_learners" not in scraped(api)
    with in_role("learner", settings, redis_url, sqlite_url) as learner:
        assert scraped(learner, model="m")["amstream_model_samples"] == 8
        assert scraped(learner, role="learner")["amstream_build_info"] == 1
        eventually(lambda: scraped(learner, state="standby")["amstream_learners"] == 1)


def test_a_store_that_is_away_is_said_and_the_rest_is_told(settings: Settings, sqlite_url: str) -> None:
    services = assembled(settings.model_copy(update={"role": "api"}), "redis://127.0.0.1:1/0", sqlite_url)
    assert isinstance(services.publications, Publications)
    with running(services) as http:
        found = scraped(http)
        assert (found["amstream_redis_up"], found["amstream_database_up"]) == (0, 1)
        assert found["process_resident_memory_bytes"] > 0


def test_every_metric_is_documented(services: Services) -> None:
    text = (ROOT / "docs" / "observability.md").read_text()
    documented = set(re.findall(r"`(amstream_\w+)`", text))
    described = {
        f"{family.name}_total" if family.type == "counter" else family.name + "_info" * (family.type == "info")
        for family in services.meters.registry.collect()
        if family.name.startswith("amstream_")
    }
    assert documented == described
