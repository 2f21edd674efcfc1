"""The scenario `service`: what it sends, that its parts do what their names say, and once all of it at the smallest size."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from benchmarks.datasets import synthetic_pixels
from benchmarks.load import UnexpectedAnswer, in_background, latencies_s, rate, request, send_all, wires
from benchmarks.measured_service import CountingLearner
from benchmarks.scenario import Plan, RunScale
from benchmarks.scenarios import service
from models import Architecture, PooledScale, create_learner
from models.learner import LEARNERS


class Echo(BaseHTTPRequestHandler):
    """Answers with the path and the body; under /slow later, under /refused with 422."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/slow":
            time.sleep(0.05)
        self.send_response(422 if self.path == "/refused" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def echo(text: str, path: str = "/") -> bytes:
    return request("POST", path, {}, text.encode())


def test_answers_come_in_the_order_of_the_requests(port: int) -> None:
    texts = [str(number) * (1 + 30_000 * (number % 3)) for number in range(7)]
    answers = send_all(port, [echo(text) for text in texts], connections=3, expected=200)
    assert [answer.body.decode() for answer in answers] == texts


def test_what_is_refused_is_no_measurement(port: int) -> None:
    with wires(port, 1) as [wire], pytest.raises(UnexpectedAnswer, match="422: why"):
        wire.exchange(echo("why", "/refused"))


def test_a_slower_route_takes_longer_and_is_asked_less_often(port: int) -> None:
    fast, slow = echo("x"), echo("x", "/slow")
    with wires(port, 1) as [wire]:
        times = latencies_s(wire, [fast, slow], 3)
    assert min(times[1]) > 0.05 > min(times[0])
    assert rate(port, slow, connections=2, seconds=0.2) < 2 / 0.05


def test_what_fails_in_the_background_fails_the_measurement() -> None:
    def fail(over: threading.Event) -> None:
        over.wait()
        raise UnexpectedAnswer("the load was refused")

    with pytest.raises(UnexpectedAnswer), in_background(fail):
        pass


def test_a_counting_learner_takes_blocks_and_changes_nothing() -> None:
    device, net = torch.device("cpu"), Architecture(3, (4,), 2)
    made = create_learner("am-mem", net, scale=PooledScale(), seed=0, device=device)
    counting = CountingLearner(net, made.hyperparameters, scale=PooledScale(), seed=0, device=device)
    assert bool(counting.learn(torch.ones(5, 3), torch.zeros(5, dtype=torch.int64)))
    assert all(torch.equal(t, made.state_dict()[name]) for name, t in counting.state_dict().items())
    assert LEARNERS["am-mem"][1] is not CountingLearner


def test_cells_are_distinct_and_the_headlines_have_no_suffix() -> None:
    cells = list(service.cells(Plan(RunScale.HOUR, seeds=2)))
    assert len({(cell.net, cell.at, cell.seed) for cell in cells}) == len(cells)
    assert {(cell.net, cell.at) for cell in cells if cell.seed == 0} >= {("bulk", ""), ("predict", "")}


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in service.POSTS}))
def test_posts_hold_the_samples_of_their_place(kind: str) -> None:
    data = synthetic_pixels(8)
    _, whole = service._body(kind, data, 0, 8)
    _, part = service._body(kind, data, 4, 4)
    assert len(part) < len(whole)
    if kind == "json":
        assert json.loads(part)["samples"] == json.loads(whole)["samples"][4:]


@pytest.mark.long
def test_all_of_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "IN_FLIGHT", 1)
    bulk = service.measure_bulk("msgpack", 256, 1, 2, seed=0)["service"]
    assert bulk["ingest_to_learned_over_limit"] == pytest.approx(
        bulk["ingest_to_learned"] / min(bulk["learner_alone"], bulk["pipeline_alone"])
    )
    predicted = service.measure_predictions("get", 20, 1, seed=0, load=True)["service"]
    assert predicted["p99_ms"] >= predicted["p50_ms"] > 0
    assert predicted["rate_over_noop"] > 0
