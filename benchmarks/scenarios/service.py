"""`service`: from posts to learned samples over what the learner or the pipeline alone would do; predictions over a route
that does nothing."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median, quantiles
from typing import Any

import msgpack
import numpy as np
import torch

from amstream_client import Client
from benchmarks.datasets import Dataset, synthetic_pixels
from benchmarks.load import COUNTING, NO_OP, in_background, latencies_s, rate, request, send_all, wires
from benchmarks.local_service import LocalService, spec_of, stopped_by_sigterm, temporary_service
from benchmarks.scenario import Cell, Figures, Plan, RunScale, Scenario, two_hidden_layers
from models import PooledScale, create_learner

BLOCK = 256
NET = two_hidden_layers(784, 100, 10)
MODEL = "measured"
MODULE = "benchmarks.measured_service"
SETTINGS = {"AMSTREAM_WAIT_S": "600", "AMSTREAM_THREADS": "1"}

POSTS = (
    ("msgpack", 256),
    ("msgpack", 2048),
    ("msgpack", 16),
    ("npz", 256),
    ("json", 256),
    ("json", 16),
    ("ndjson", 256),
)
"""Formats and samples in a post, the first one being the headline."""
IN_FLIGHT = 4
TURNS = {RunScale.QUICK: (3, 40), RunScale.HOUR: (7, 120), RunScale.FULL: (15, 240)}
"""Turns, and blocks learned in each."""

CALLS = ("msgpack", "get")
"""How a single prediction is asked for, the first one being the headline."""
CONNECTIONS = 8
CALLS_EACH = {RunScale.QUICK: (1000, 9), RunScale.HOUR: (5000, 9), RunScale.FULL: (20_000, 25)}
"""Requests whose latency is measured, and seconds over which the rate is."""
AHEAD = 4
"""Blocks that the learning load posts at a time; it is always one or two such posts ahead."""


def cells(plan: Plan) -> Iterator[Cell]:
    for seed in range(plan.seeds):
        for number, (kind, size) in enumerate(POSTS):
            measure = partial(measure_bulk, kind, size, *TURNS[plan.scale], seed)
            yield Cell(method="service", net="bulk", seed=seed, at=f"{kind}{size}" if number else "", measure=measure)
        for number, call in enumerate(CALLS):
            for load in (True, False):
                at = "-".join([call] * bool(number) + ["idle"] * (not load))
                measure = partial(measure_predictions, call, *CALLS_EACH[plan.scale], seed, load=load)
                yield Cell(method="service", net="predict", seed=seed, at=at, measure=measure)


# Bulk


def measure_bulk(kind: str, size: int, turns: int, blocks: int, seed: int) -> Figures:
    """Samples a second: posted and learned; by the learner alone; by the pipeline with a learner that only counts.

    They take turns, seconds apart, those who are not at it being paused; medians over the turns count.
    """
    data = synthetic_pixels(blocks * BLOCK)
    posts = [_body(kind, data, start, size) for start in range(0, len(data.y), size)]
    rates: list[tuple[float, float, float]] = []
    with stopped_by_sigterm(), ExitStack() as stack:
        learning, counting = (stack.enter_context(_service(seed, counting=counts)) for counts in (False, True))
        counting.pause()
        for turn in range(turns + 1):
            bare = _bare(data, seed)
            posted = _posted(learning, posts)
            learning.pause()
            counting.resume()
            counted = _posted(counting, posts)
            counting.pause()
            learning.resume()
            if turn:  # the first one warms up
                rates.append((posted, bare, counted))
    return {
        "service": {
            "ingest_to_learned": median(posted for posted, _, _ in rates),
            "learner_alone": median(bare for _, bare, _ in rates),
            "pipeline_alone": median(counted for _, _, counted in rates),
            "ingest_to_learned_over_limit": median(posted / min(bare, counted) for posted, bare, counted in rates),
        }
    }


def _bare(data: Dataset, seed: int) -> float:
    learner = create_learner("am-mem", NET, scale=PooledScale(), seed=seed, device=torch.device("cpu"))
    begun = time.perf_counter()
    for start in range(0, len(data.y), BLOCK):
        learner.learn(data.x[start : start + BLOCK], data.y[start : start + BLOCK])
    return len(data.y) / (time.perf_counter() - begun)


def _posted(service: LocalService, posts: list[tuple[str, bytes]]) -> float:
    """From the first post until the last entry is learned."""
    requests = [_post(service, content, body, key=str(number)) for number, (content, body) in enumerate(posts)]
    begun = time.perf_counter()
    answers = send_all(service.port, requests, connections=IN_FLIGHT, expected=202)
    accepted: list[dict[str, Any]] = [json.loads(answer.body) for answer in answers]
    last = max((entry for one in accepted for entry in one["entries"]), key=_order)
    with wires(service.port, 1) as [wire]:
        wire.exchange(_prediction(service, "msgpack", min_entry=last))
    samples = sum(int(one["accepted"]) for one in accepted)
    return samples / (time.perf_counter() - begun)


def _order(entry: str) -> tuple[int, ...]:
    return tuple(map(int, entry.split("-")))


# Predictions


def measure_predictions(call: str, calls: int, seconds: float, seed: int, *, load: bool) -> Figures:
    """Latency and rate of single predictions beside those of a route that does nothing, sent the same bytes in turns."""
    with stopped_by_sigterm(), _service(seed) as service, ExitStack() as stack:
        if load:
            stack.enter_context(in_background(partial(_keep_learning, service)))
            time.sleep(1)
        predict, idle = _prediction(service, call), _prediction(service, call, path=NO_OP)
        with wires(service.port, 1) as [wire]:
            latencies_s(wire, [predict, idle], calls // 10)
            own, others = latencies_s(wire, [predict, idle], calls)
        rates = [
            tuple(rate(service.port, one, connections=CONNECTIONS, seconds=1.0) for one in (predict, idle))
            for _ in range(max(1, round(seconds)))
        ]
    (p50, p99), (no_op_p50, no_op_p99) = _percentiles(own), _percentiles(others)
    return {
        "service": {
            "p50_ms": 1000 * p50,
            "p99_ms": 1000 * p99,
            "noop_p50_ms": 1000 * no_op_p50,
            "noop_p99_ms": 1000 * no_op_p99,
            "p50_over_noop": p50 / no_op_p50,
            "p99_over_noop": p99 / no_op_p99,
            "rate": median(own for own, _ in rates),
            "noop_rate": median(other for _, other in rates),
            "rate_over_noop": median(own / other for own, other in rates),
        }
    }


def _percentiles(times: list[float]) -> tuple[float, float]:
    cuts = quantiles(times, n=100)
    return cuts[49], cuts[98]


def _keep_learning(service: LocalService, over: threading.Event) -> None:
    """Posts so far ahead that the learner never waits, until told to end."""
    data = synthetic_pixels(AHEAD * BLOCK)
    content, body = _body("msgpack", data, 0, len(data.y))
    with wires(service.port, 1) as [wire]:
        before, number = _last(wire.exchange(_post(service, content, body, key="load"), expected=202).body), 0
        while not over.is_set():
            number += 1
            entry = _last(wire.exchange(_post(service, content, body, key=f"load-{number}"), expected=202).body)
            wire.exchange(_prediction(service, "msgpack", min_entry=before))
            before = entry


def _last(accepted: bytes) -> str:
    entry: str = json.loads(accepted)["entries"][-1]
    return entry


# The service, and what it is sent


@contextmanager
def _service(seed: int, *, counting: bool = False) -> Iterator[LocalService]:
    command = (sys.executable, "-m", MODULE, *([COUNTING] if counting else []))
    with temporary_service(SETTINGS, command=command) as service:
        with Client(service.url, service.admin_key()) as client:
            client.create_model(MODEL, spec_of(NET, block=BLOCK, wait_ms=1.0, seed=seed))
        warm = synthetic_pixels(10 * BLOCK)
        _posted(service, [_body("msgpack", warm, 0, len(warm.y))])
        yield service


def _body(kind: str, data: Dataset, start: int, size: int) -> tuple[str, bytes]:
    """Media type and bytes of a post of samples."""
    x, y = data.x[start : start + size].numpy(), data.y[start : start + size].tolist()
    if kind == "msgpack":
        return "application/msgpack", msgpack.packb({"x": x.astype("<f4").tobytes(), "n": len(y), "y": y})
    if kind == "npz":
        packed = io.BytesIO()
        np.savez(packed, x=x, y=np.array(y))
        return "application/x-npz", packed.getvalue()
    samples = [{"x": row, "y": label} for row, label in zip(x.round(1).astype(float).round(1).tolist(), y, strict=True)]
    if kind == "ndjson":
        return "application/x-ndjson", "\n".join(map(json.dumps, samples)).encode()
    return "application/json", json.dumps({"samples": samples}).encode()


def _headers(service: LocalService, content: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {service.admin_key()}", "Content-Type": content}


def _post(service: LocalService, content: str, body: bytes, *, key: str) -> bytes:
    headers = {**_headers(service, content), "Idempotency-Key": f"{key}-{time.monotonic_ns()}"}
    return request("POST", f"/v1/models/{MODEL}/samples", headers, body)


def _prediction(service: LocalService, call: str, *, path: str = "", min_entry: str | None = None) -> bytes:
    row = synthetic_pixels(1).x.numpy()
    path = path or f"/v1/models/{MODEL}/predictions"
    query = [f"min_entry={min_entry}"] if min_entry else []
    if call == "get":
        query.append("x=" + ",".join(f"{value:.1f}" for value in row[0]))
        return request("GET", f"{path}?{'&'.join(query)}", _headers(service, "application/json"))
    body = msgpack.packb({"x": row.astype("<f4").tobytes(), "n": 1})
    return request("POST", "?".join([path, *query]), _headers(service, "application/msgpack"), body)


def notes(plan: Plan) -> list[str]:
    turns, blocks = TURNS[plan.scale]
    calls, seconds = CALLS_EACH[plan.scale]
    return [
        f"{NET.name}, synthetic pixels, blocks of {BLOCK}; one torch thread for each learner; client, service and Valkey "
        "share the machine's cores",
        f"bulk: {turns} turns of {blocks} blocks, {IN_FLIGHT} posts in flight, from the first post until all is learned; "
        "limit: the smaller of learner_alone (the learner's steps, in a process of its own) and pipeline_alone (the same "
        f"service with a learner that only counts); posts of {POSTS[0][1]} samples in msgpack where nothing else is said",
        f"predict: {calls} single predictions in turns with a route that does nothing, one connection; rates over "
        f"{CONNECTIONS} connections, {seconds} s each; while the learner is never without blocks, but for idle; msgpack "
        "where nothing else is said",
    ]


SERVICE = Scenario(
    name="service",
    measures="samples a second from post to learned over what limits them; predictions over a route that does nothing",
    data="none: synthetic pixels",
    cells=cells,
    seeds={RunScale.QUICK: 1, RunScale.HOUR: 3, RunScale.FULL: 5},
    threads=1,
    notes=notes,
)
