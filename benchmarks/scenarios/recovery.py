"""`recovery`: how long a killed service needs to learn again what no checkpoint holds, and what checkpoints cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from statistics import median

from amstream_client import Client
from benchmarks.datasets import synthetic_pixels
from benchmarks.local_service import LocalService, spec_of, stopped_by_sigterm, temporary_service
from benchmarks.scenario import Cell, Figures, Plan, RunScale, Scenario, two_hidden_layers

BLOCK = 200
NET = two_hidden_layers(784, 500, 10)
REPLAYED = 10_000
TURN = 20_000
"""Samples of one turn, as many as lie between two checkpoints at the default cadence."""
ROUNDS = {RunScale.QUICK: 4, RunScale.HOUR: 10, RunScale.FULL: 20}
NEVER = {"AMSTREAM_CHECKPOINT_SAMPLES": "1000000000", "AMSTREAM_CHECKPOINT_S": "1000000000"}
CADENCES: Mapping[str, Mapping[str, str]] = {
    "never": NEVER,
    "default": {},
    "every-second": {"AMSTREAM_CHECKPOINT_S": "1"},
}
MODEL = "measured"
POLL_S = 0.02


def cells(plan: Plan) -> Iterator[Cell]:
    rounds = ROUNDS[plan.scale]
    for seed in range(plan.seeds):
        yield Cell(method="service", net=NET.name, seed=seed, measure=partial(measure_recovery, seed))
        yield Cell(
            method="service",
            net=NET.name,
            seed=seed,
            at=f"learned{rounds * TURN}",
            measure=partial(measure_cost, rounds, seed),
        )


def measure_recovery(seed: int) -> Figures:
    """Kill -9 after REPLAYED samples and no checkpoint: everything has to be learned again."""
    with stopped_by_sigterm(), temporary_service(NEVER) as service:
        _create(service, seed)
        learn_s = _learn(service, REPLAYED)
        service.kill()
        killed = time.perf_counter()
        service.launch()
        service.wait_ready()
        ready_s = time.perf_counter() - killed
        _wait_until_learned(service, REPLAYED)
        recovery_s = time.perf_counter() - killed
    return {"service": {"learn_s": learn_s, "ready_s": ready_s, "recovery_s": recovery_s}}


def measure_cost(rounds: int, seed: int) -> Figures:
    """One service per cadence, which learn in turns; who is not at it is paused.

    Each round is one turn of each, so that what is compared lies seconds apart; the median over the rounds counts. A paused
    service's checkpoint falls due meanwhile, so that at the default cadence every turn has the one that its samples ask for.
    """
    with stopped_by_sigterm(), ExitStack() as stack:
        services = {name: stack.enter_context(temporary_service(settings)) for name, settings in CADENCES.items()}
        for service in services.values():
            _create(service, seed)
            _learn(service, 10 * BLOCK)  # the first steps are slower
            service.pause()
        seconds = [_round(services, backwards=bool(number % 2)) for number in range(rounds)]
    return {
        "service": {
            "samples_per_s": TURN / median(turn["default"] for turn in seconds),
            "checkpoint_share": median(1 - turn["never"] / turn["default"] for turn in seconds),
            "checkpoint_share_every_second": median(1 - turn["never"] / turn["every-second"] for turn in seconds),
        }
    }


def _round(services: Mapping[str, LocalService], *, backwards: bool) -> dict[str, float]:
    """Seconds of one turn of each."""
    seconds = {}
    for name in sorted(services, reverse=backwards):
        services[name].resume()
        seconds[name] = _learn(services[name], TURN)
        services[name].pause()
    return seconds


def _create(service: LocalService, seed: int) -> None:
    with Client(service.url, service.admin_key()) as client:
        client.create_model(MODEL, spec_of(NET, block=BLOCK, wait_ms=0.0, seed=seed))


def _learn(service: LocalService, samples: int) -> float:
    """Seconds from the first post until the model has learned all of them; posts are far ahead of learning."""
    data = synthetic_pixels(10 * BLOCK)
    x, y = data.x.numpy(), data.y.tolist()
    with Client(service.url, service.admin_key()) as client:
        before = client.model(MODEL).samples_learned
        begun = time.perf_counter()
        for number in range(samples // BLOCK):
            at = slice(number % 10 * BLOCK, number % 10 * BLOCK + BLOCK)
            client.learn(MODEL, x[at], y[at])
        _wait_until_learned(service, before + samples)
        return time.perf_counter() - begun


def _wait_until_learned(service: LocalService, samples: int) -> None:
    with Client(service.url, service.admin_key()) as client:
        while client.model(MODEL).samples_learned < samples:
            time.sleep(POLL_S)


def notes(plan: Plan) -> list[str]:
    return [
        f"synthetic input, blocks of {BLOCK}; recovery: kill -9 after {REPLAYED} samples without a checkpoint, until all "
        "are learned again, the process's own start (ready_s) included",
        f"checkpoint_share: of the time to learn, at the default cadence (every 20,000 samples or 10 s); three services, one "
        f"of them without checkpoints, take turns of {TURN} samples, {ROUNDS[plan.scale]} each, and the median over the "
        "turns counts; a share below the noise may come out negative",
    ]


RECOVERY = Scenario(
    name="recovery",
    measures="how long a killed service needs to learn 10,000 samples again, and the share of learning time of checkpoints",
    data="none: synthetic pixels",
    cells=cells,
    seeds={RunScale.QUICK: 3, RunScale.HOUR: 5, RunScale.FULL: 5},
    notes=notes,
)
