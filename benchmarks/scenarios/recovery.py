"""`recovery`: how long a killed service needs to learn again what no checkpoint holds, and what checkpoints cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from amstream_client import Client, Spec
from benchmarks.datasets import synthetic_pixels
from benchmarks.local_service import LocalService, stopped_by_sigterm, temporary_service
from benchmarks.scenario import Cell, Figures, Plan, RunScale, Scenario, two_hidden_layers

BLOCK = 200
NET = two_hidden_layers(784, 500, 10)
REPLAYED = 10_000
LEARNED = {RunScale.QUICK: 60_000, RunScale.HOUR: 200_000, RunScale.FULL: 400_000}
NEVER = {"AMSTREAM_CHECKPOINT_SAMPLES": "1000000000", "AMSTREAM_CHECKPOINT_S": "1000000000"}
EVERY_SECOND = {"AMSTREAM_CHECKPOINT_S": "1"}
MODEL = "measured"
POLL_S = 0.02


def cells(plan: Plan) -> Iterator[Cell]:
    learned = LEARNED[plan.scale]
    for seed in range(plan.seeds):
        yield Cell(method="service", net=NET.name, seed=seed, measure=partial(measure_recovery, seed))
        yield Cell(
            method="service", net=NET.name, seed=seed, at=f"learned{learned}", measure=partial(measure_cost, learned)
        )


def measure_recovery(seed: int) -> Figures:
    """Kill -9 after REPLAYED samples and no checkpoint: everything has to be learned again."""
    with stopped_by_sigterm(), temporary_service(NEVER) as service:
        learn_s = _learn(service, REPLAYED, seed)
        service.kill()
        killed = time.perf_counter()
        service.launch()
        service.wait_ready()
        ready_s = time.perf_counter() - killed
        _wait_until_learned(service, REPLAYED)
        recovery_s = time.perf_counter() - killed
    return {"service": {"learn_s": learn_s, "ready_s": ready_s, "recovery_s": recovery_s}}


def measure_cost(samples: int) -> Figures:
    """The share of the time to learn `samples` that goes when there are no checkpoints."""
    seconds = {}
    for cadence, settings in (("never", NEVER), ("default", {}), ("every-second", EVERY_SECOND)):
        with stopped_by_sigterm(), temporary_service(settings) as service:
            seconds[cadence] = _learn(service, samples, 0)
    return {
        "service": {
            "samples_per_s": samples / seconds["default"],
            "checkpoint_share": 1 - seconds["never"] / seconds["default"],
            "checkpoint_share_every_second": 1 - seconds["never"] / seconds["every-second"],
        }
    }


def _learn(service: LocalService, samples: int, seed: int) -> float:
    """Seconds from the first post until a new model has learned all samples; posts are far ahead of learning."""
    data = synthetic_pixels(10 * BLOCK)
    x, y = data.x.numpy(), data.y.tolist()
    spec: Spec = {
        "inputs": NET.inputs,
        "hidden": list(NET.hidden),
        "classes": list(range(NET.outputs)),
        "scale": "pooled",
        "seed": seed,
        "block": {"size": BLOCK, "wait_ms": 0.0},
    }
    with Client(service.url, service.admin_key()) as client:
        client.create_model(MODEL, spec)
        begun = time.perf_counter()
        for number in range(samples // BLOCK):
            at = slice(number % 10 * BLOCK, number % 10 * BLOCK + BLOCK)
            client.learn(MODEL, x[at], y[at])
        _wait_until_learned(service, samples)
        return time.perf_counter() - begun


def _wait_until_learned(service: LocalService, samples: int) -> None:
    with Client(service.url, service.admin_key()) as client:
        while client.model(MODEL).samples_learned < samples:
            time.sleep(POLL_S)


def notes(plan: Plan) -> list[str]:
    return [
        f"synthetic input, blocks of {BLOCK}; recovery: kill -9 after {REPLAYED} samples without a checkpoint, until all "
        "are learned again, the process's own start (ready_s) included",
        "checkpoint_share: of the time to learn, at the default cadence (every 20,000 samples or 10 s); small shares drown "
        "in the noise between two runs and may come out negative",
    ]


RECOVERY = Scenario(
    name="recovery",
    measures="how long a killed service needs to learn 10,000 samples again, and the share of learning time of checkpoints",
    data="none: synthetic pixels",
    cells=cells,
    seeds={RunScale.QUICK: 3, RunScale.HOUR: 5, RunScale.FULL: 5},
    notes=notes,
)
