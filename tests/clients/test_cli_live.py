"""The commands that look at a model: metrics, events, watch, doctor; and what shells complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import get_args

import httpx
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from amstream_client import Client, ConnectionFailed, DeadLetter
from amstream_client.cli import register
from amstream_client.cli.watch import Watched, sparkline, view
from amstream_client.events import KINDS, Event
from amstream_client.testing import FakeService, problem
from service.events import Kind

Run = Callable[..., Result]


def test_metrics_stand_beside_what_learns_nothing(run: Run, client: Client) -> None:
    client.learn("iris", [[1, 2]] * 3, ["a", "b", "b"])
    shown = run("metrics", "iris")
    assert shown.exit_code == 0, shown.stderr
    assert "majority" in shown.stdout
    assert "3 samples learned" in shown.stdout
    assert json.loads(run("metrics", "iris", "--json").stdout)["classes"][1]["seen"] == 2


def test_hyperparameters_are_set_and_shown(run: Run) -> None:
    changed = run("hyperparameters", "set", "iris", "mu=0.1", "horizons=[1000, null]", "--json")
    assert json.loads(changed.stdout) == {"mu": 0.1, "horizons": [1000, None]}
    assert "[1000, null]" in run("hyperparameters", "show", "iris").stdout
    assert run("hyperparameters", "set", "iris", "mu").exit_code == 2
    refused = run("hyperparameters", "set", "iris", "mu=NaN")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert refused.stderr.startswith("error: the hyper-parameters: Out of range float values")


def test_events_are_printed_a_line_each(run: Run, client: Client) -> None:
    for _ in range(3):
        client.learn("iris", [[1, 2]], ["a"])
    shown = run("events", "iris", "--after", "0-0", "--count", 2)
    assert shown.exit_code == 0, shown.stderr
    assert [line.split()[:2] for line in shown.stdout.splitlines()] == [["1-0", "learned"], ["2-0", "learned"]]
    one = json.loads(run("events", "iris", "--after", "2-0", "--kind", "learned", "--count", 1, "--json").stdout)
    assert (one["id"], one["kind"], one["data"]["model_version"]) == ("3-0", "learned", 3)


def test_a_kind_of_event_that_there_is_not_is_a_usage_error_that_lists_them(run: Run, service: FakeService) -> None:
    refused = run("events", "iris", "--kind", "drift", "--kind", "foo")
    assert (refused.exit_code, service.requests) == (2, [])
    shown = " ".join(refused.stderr.replace("│", " ").split())
    assert "learned, checkpoint, drift, new-class, adopted, dead-letter, missed, not 'foo'" in shown


def test_the_kinds_of_events_are_those_of_the_service() -> None:
    assert set(KINDS) == set(get_args(Kind))


def test_watching_shows_figures_pace_and_events(run: Run, client: Client) -> None:
    client.learn("iris", [[1, 2]] * 5, ["a"] * 5)
    shown = run("watch", "iris", "--count", 2, "--every", 0.1)
    assert shown.exit_code == 0, shown.stderr
    for text in ("iris", "samples learned", "5", "majority", "learning"):
        assert text in shown.stdout
    looks = [
        json.loads(line) for line in run("watch", "iris", "--count", 2, "--every", 0.1, "--json").stdout.splitlines()
    ]
    assert [look["samples_learned"] for look in looks] == [5, 5]
    assert looks[1]["samples_per_s"] == 0


def test_watching_survives_a_service_that_is_away(run: Run, service: FakeService) -> None:
    answered = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal answered
        answered += not request.url.path.endswith("/events")
        if answered > 3:
            return problem(503, "unavailable", "Redis is away")
        return service.answer(request)

    shown = run("watch", "iris", "--count", 1, "--every", 0.1, "--json", transport=httpx.MockTransport(answer))
    assert (shown.exit_code, json.loads(shown.stdout)["away"]) == (0, "Redis is away"), shown.stderr


def test_the_view_shows_drifts_and_what_happened(client: Client) -> None:
    watched = Watched(client.model("iris"), client.metrics("iris"), samples_per_s=1234.5, away="[red]away[/red]")
    watched.accuracy.extend([0.0, 0.5, 1.0])
    watched.events.append(Event("1-0", "new-class", {"label": "[b]"}))
    page = StringIO()
    Console(file=page, width=80).print(view(watched))
    for text in ("1,234.5", "▁▅█", "new-class", "label [b]", "[red]away[/red]"):
        assert text in page.getvalue()
    assert sparkline(watched.accuracy) == "▁▅█"


def test_a_healthy_service_has_no_findings(run: Run) -> None:
    shown = run("doctor")
    assert shown.exit_code == 0, shown.stderr
    assert [line[0] for line in shown.stdout.splitlines()] == ["✓"] * 4
    assert "with the key of AMSTREAM_KEY" in shown.stdout
    assert {finding["what"] for finding in json.loads(run("doctor", "--json").stdout)} == {
        "service",
        "stores",
        "key",
        "model iris",
    }


def refused() -> httpx.MockTransport:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    return httpx.MockTransport(refuse)


@pytest.mark.parametrize(
    ("path", "answer", "what", "advice"),
    [
        ("/openapi.json", httpx.ConnectError("refused"), "service", "amstream serve"),
        ("/openapi.json", httpx.Response(200, html="<p>log in</p>"), "service", "check the URL"),
        ("/readyz", problem(503, "unavailable", "away: redis"), "stores", "the service's log says why"),
        ("/v1/models", problem(401, "unauthenticated", "the API key is unknown"), "key", "ask for a new one"),
    ],
)
def test_the_doctor_names_what_is_wrong_and_what_to_do(
    run: Run, service: FakeService, path: str, answer: httpx.Response | Exception, what: str, advice: str
) -> None:
    def answering(request: httpx.Request) -> httpx.Response:
        if request.url.path != path:
            return service.answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    shown = run("doctor", "--json", transport=httpx.MockTransport(answering))
    assert shown.exit_code == 1
    [bad] = [finding for finding in json.loads(shown.stdout) if finding["state"] == "bad"]
    assert bad["what"] == what
    assert advice in bad["advice"]


def test_entries_that_could_not_be_learned_are_listed_and_deleted(
    run: Run, client: Client, service: FakeService
) -> None:
    letters = [DeadLetter(f"{number}-0", "there would be 3 classes", number or None, 80) for number in range(3)]
    service.models["iris"].dead_letters = letters
    result = run("dead-letters", "iris")
    assert result.exit_code == 0, result.stderr
    assert "there would be 3 classes" in result.stdout
    assert "amstream dead-letters iris" in run("doctor").stdout
    assert client.model("iris").dead_letters == 3
    rest = json.loads(run("dead-letters", "iris", "--delete-until", "1-0", "--json").stdout)
    assert rest == [{"entry": "2-0", "cause": "there would be 3 classes", "samples": 2, "size_bytes": 80}]


def test_a_learner_that_refuses_or_is_missing_is_found(run: Run, service: FakeService) -> None:
    def answering(request: httpx.Request) -> httpx.Response:
        response = service.answer(request)
        if request.url.path != "/v1/models":
            return response
        [model] = response.json()["models"]
        states = [{"learner": "refused: entries were lost"}, {"learner": "none"}, {"entries_lag": 10**6}]
        return httpx.Response(200, json={"models": [model | state for state in states]})

    shown = run("doctor", transport=httpx.MockTransport(answering))
    assert shown.exit_code == 1
    assert [line[0] for line in shown.stdout.splitlines()] == ["✓", "✓", "✓", "✗", " ", "!", " ", "!", " "]


def test_without_a_key_the_doctor_says_where_it_looked(run: Run, tmp_path: Path) -> None:
    shown = run("doctor", environ={"AMSTREAM_KEY": None, "AMSTREAM_DATA_DIR": str(tmp_path)})
    assert shown.exit_code == 1
    assert str(tmp_path / "admin.key") in shown.stdout


def completed(words: str, service: FakeService) -> list[str]:
    """What bash would be offered for the last word."""
    app = typer.Typer()
    register(app)
    environment = {
        "_AMSTREAM_COMPLETE": "complete_bash",
        "COMP_WORDS": f"amstream {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    result = CliRunner().invoke(app, [], env=environment, prog_name="amstream", obj=service.transport())
    return result.stdout.split()


def test_models_and_snapshots_are_completed_by_asking_the_service(
    service: FakeService, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMSTREAM_KEY", service.key)
    client.create_snapshot("iris", "before-drift")
    assert completed("predict i", service) == ["iris"]
    assert completed("predict x", service) == []
    assert completed("restore iris be", service) == ["before-drift"]
    assert "evaluate" in completed("ev", service)
    monkeypatch.setenv("AMSTREAM_KEY", "amk_wrong")
    assert completed("predict i", service) == []


def test_waiting_for_a_service_that_is_not_there_is_an_error_for_clients_too(service: FakeService) -> None:
    with Client(transport=refused(), retries=0) as client, pytest.raises(ConnectionFailed):
        client.check_ready()
