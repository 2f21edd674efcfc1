from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.memory import Memory, block_memory, empty_memory, minibatch_keep, power_keep, update_memory
from models.scaling import Affine

CPU = torch.device("cpu")


def samples(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    a = torch.cat([torch.randn(n, 4, generator=draw), torch.ones(n, 1)], dim=1)
    return a, torch.randn(n, 3, generator=draw), torch.rand(n, generator=draw)


def assert_close(memory: Memory, A: Tensor, B: Tensor, *, rtol: float = 1e-6) -> None:
    torch.testing.assert_close(memory.A, A, rtol=rtol, atol=rtol)
    torch.testing.assert_close(memory.B, B, rtol=rtol, atol=rtol)


def test_updates_equal_a_loop_over_samples_with_the_past_decayed_once_a_block(device: torch.device) -> None:
    memory = empty_memory(4, 3, device)
    A, B = torch.zeros(5, 5, dtype=torch.float64), torch.zeros(3, 5, dtype=torch.float64)
    for seed, n in enumerate((1, 7, 30)):
        a, c, w = samples(n, seed)
        memory = update_memory(memory, block_memory(a.to(device), c.to(device), w.to(device)), keep=0.9)
        A, B = 0.9 * A, 0.9 * B
        for i in range(n):
            A += w[i].double() * torch.outer(a[i].double(), a[i].double())
            B += w[i].double() * torch.outer(c[i].double(), a[i].double())
    assert memory.A.dtype == memory.B.dtype == torch.float64
    assert_close(Memory(memory.A.cpu(), memory.B.cpu()), A, B)


def test_an_integer_weight_counts_like_as_many_copies() -> None:
    a, c, _ = samples(3)
    copies = torch.tensor([1, 4, 2])
    weighted = block_memory(a, c, copies.float())
    repeated = block_memory(a.repeat_interleave(copies, 0), c.repeat_interleave(copies, 0), torch.ones(7))
    assert_close(weighted, repeated.A, repeated.B)


def test_weight_zero_adds_nothing() -> None:
    a, c, _ = samples(3)
    nothing = block_memory(a, c, torch.zeros(3))
    assert_close(nothing, torch.zeros(5, 5).double(), torch.zeros(3, 5).double(), rtol=0)


def test_an_old_contribution_keeps_exp_minus_n_over_horizon_however_blocks_are_cut() -> None:
    old = block_memory(*samples(5))
    kept = []
    for n in (1, 8, 64):
        memory = old
        for _ in range(64 // n):
            a, c, _ = samples(n)
            memory = update_memory(memory, block_memory(a, c, torch.zeros(n)), keep=math.exp(-n / 100))
        kept.append(memory)
    for memory in kept:
        assert_close(memory, math.exp(-0.64) * old.A, math.exp(-0.64) * old.B, rtol=1e-14)


def test_a_mapped_memory_is_the_memory_of_mapped_activations() -> None:
    a, c, w = (t.double() for t in samples(20))
    affine = Affine(torch.tensor([2.0, -0.5, 1.0, 3.0]).double(), torch.tensor([0.1, 0.0, -7.0, 1.0]).double())
    image = torch.cat([a[:, :-1] * affine.diag + affine.offset, a[:, -1:]], dim=1)
    mapped = block_memory(a, c, w).mapped(affine)
    expected = block_memory(image, c, w)
    assert_close(mapped, expected.A, expected.B, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    keep=st.floats(0.0, 1.0),
    scale=st.floats(1e-3, 1e3),
    offset=st.floats(-100, 100),
    seed=st.integers(0, 2**32),
)
def test_the_memory_stays_exactly_symmetric_and_positive_semidefinite(
    sizes: list[int], keep: float, scale: float, offset: float, seed: int
) -> None:
    memory = empty_memory(4, 3, CPU)
    affine = Affine(torch.full((4,), scale).double(), torch.full((4,), offset).double())
    for step, n in enumerate(sizes):
        memory = update_memory(memory, block_memory(*samples(n, seed + step)).mapped(affine), keep=keep)
        assert torch.equal(memory.A, memory.A.T)
        eigenvalues = torch.linalg.eigvalsh(memory.A)
        assert eigenvalues[0] >= -1e-6 * eigenvalues[-1]


def test_the_minibatch_rescaling_is_mairals() -> None:
    """β = (θ + 1 − η)/(θ + 1): nearly 1 − 1/t while t < η, then nearly 1 − η/(η² + t)."""
    for t, theta in ((1, 8), (2, 16), (7, 56), (8, 64), (9, 65), (1000, 1056)):
        assert minibatch_keep(torch.tensor(t - 1), 8).item() == (theta + 1 - 8) / (theta + 1)


def test_the_power_rescaling_forgets_by_age_however_blocks_are_cut() -> None:
    for n in (1, 8, 64):
        kept = math.prod(power_keep(torch.tensor(t), n, 2.0).item() for t in range(64, 128, n))
        assert math.isclose(kept, (64 / 128) ** 2)
    assert power_keep(torch.tensor(0), 8, 2.0).item() == 0  # nothing was before
    assert power_keep(torch.tensor(0), 8, 0.0).item() == 1
