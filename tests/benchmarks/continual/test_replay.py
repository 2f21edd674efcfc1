from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.continual.replay import Replay, Reservoir
from models import Architecture, PooledScale, create_learner


def numbered(n: int, start: int = 0) -> tuple[Tensor, Tensor]:
    y = torch.arange(start, start + n)
    return y.unsqueeze(1).float(), y


def test_a_reservoir_keeps_everything_until_it_is_full_and_draws_without_replacement() -> None:
    reservoir = Reservoir(10, inputs=1, seed=0)
    assert len(reservoir.draw(5)[1]) == 0
    reservoir.add(*numbered(7))
    x, y = reservoir.draw(50)
    assert sorted(y.tolist()) == list(range(7))
    assert x[:, 0].tolist() == y.tolist()


def test_a_reservoir_keeps_a_uniform_sample_of_all_it_saw() -> None:
    times = torch.zeros(60)
    runs, capacity = 600, 12
    for seed in range(runs):
        reservoir = Reservoir(capacity, inputs=1, seed=seed)
        for start in range(0, 60, 20):
            reservoir.add(*numbered(20, start))
        assert len(reservoir) == len(set(reservoir.y.tolist())) == capacity
        times[reservoir.y] += 1
    share = capacity / 60
    deviation = (runs * share * (1 - share)) ** 0.5
    assert float(((times - runs * share) / deviation).abs().max()) < 4
    for part in times.reshape(3, 20):  # neither the first nor the last are preferred
        assert abs(float(part.sum()) - runs * capacity / 3) < 4 * deviation * 20**0.5


def test_replay_learns_a_block_with_as_many_old_samples_and_then_keeps_it() -> None:
    seen: list[list[int]] = []
    sgd = create_learner("sgd", Architecture(1, (3,), 100), scale=PooledScale(), seed=0, device=torch.device("cpu"))

    replay = Replay(sgd, capacity=50, steps=2, inputs=1, seed=0)
    learn = sgd.learn

    def noted(inputs: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
        seen.append(targets.tolist())
        return learn(inputs, targets, weight)

    sgd.learn = noted  # type: ignore[method-assign]
    replay.learn(*numbered(4))
    replay.learn(*numbered(4, 10))
    assert seen[:2] == [[0, 1, 2, 3]] * 2
    for step in seen[2:]:
        assert step[:4] == [10, 11, 12, 13]
        assert set(step[4:]) == {0, 1, 2, 3}
    assert len(replay.reservoir) == 8
    assert {"buffer.x", "buffer.y", "W.1"} <= set(replay.state_dict())
    assert replay.predict(torch.zeros(2, 1)).shape == (2, 100)
