from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models import FixedScale, InputScale, NoScale, PooledScale, RunningScale
from models.layers import append_one
from models.memory import Memory, block_memory, empty_memory, update_memory
from models.scaling import CLIP, Affine, Moments, Scaling, no_moments

CPU = torch.device("cpu")
SCALES: list[InputScale] = [RunningScale(), PooledScale(), FixedScale(0.5, (3.0, 4.0, 2.0, 5.0)), NoScale()]


def blocks(count: int = 5, *, offset: float = 0.0, missing: float = 0.0, seed: int = 0) -> list[Tensor]:
    """Blocks of 1 to `count` samples of four features, float64, drifting and of different spread."""
    draw = torch.Generator().manual_seed(seed)
    spread = torch.tensor([1.0, 3.0, 0.8, 10.0]).double()
    made = []
    for n in range(count):
        x = offset + n / 3 + spread * (torch.rand(n + 1, 4, generator=draw, dtype=torch.float64) - 0.5)
        made.append(x.masked_fill(torch.rand(x.shape, generator=draw) < missing, torch.nan))
    return made


def moments_of(*several: Tensor, weight: float = 1.0) -> Moments:
    moments = no_moments(several[0].shape[1], CPU)
    for x in several:
        moments = moments.updated(x, torch.full((len(x),), weight, dtype=torch.float64))
    return moments


def test_moments_equal_numpys_over_all_blocks_with_weights_and_missing_values() -> None:
    parts = blocks(9, offset=100.0, missing=0.3)
    weights = [torch.rand(len(x), generator=torch.Generator().manual_seed(len(x))).double() for x in parts]
    moments = no_moments(4, CPU)
    for x, w in zip(parts, weights, strict=True):
        moments = moments.updated(x, w)
    values, weight = torch.cat(parts).numpy(), torch.cat(weights).numpy()
    for feature in range(4):
        there = ~np.isnan(values[:, feature])
        mean = np.average(values[there, feature], weights=weight[there])
        squares = np.sum(weight[there] * (values[there, feature] - mean) ** 2)
        assert moments.count[feature].item() == pytest.approx(weight[there].sum(), rel=1e-12)
        assert moments.mean[feature].item() == pytest.approx(mean, rel=1e-12)
        assert moments.squares[feature].item() == pytest.approx(squares, rel=1e-9)


def test_moments_of_large_offsets_do_not_cancel() -> None:
    near, far = moments_of(*blocks(20)), moments_of(*blocks(20, offset=1e9))
    torch.testing.assert_close(far.squares, near.squares, rtol=1e-5, atol=0)


def test_an_integer_weight_counts_like_as_many_copies() -> None:
    x, copies = blocks(5)[-1], torch.tensor([1, 3, 0, 2, 1])
    weighted = no_moments(4, CPU).updated(x, copies.double())
    repeated = moments_of(x.repeat_interleave(copies, dim=0))
    for name in ("count", "mean", "squares"):
        torch.testing.assert_close(getattr(weighted, name), getattr(repeated, name), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [RunningScale(), PooledScale()])
def test_the_scale_does_not_depend_on_the_unit_of_the_weights(scale: InputScale) -> None:
    x = torch.cat(blocks())
    light, usual = (scale.scaling(moments_of(*blocks(), weight=weight))(x) for weight in (1e-3, 1.0))
    torch.testing.assert_close(light, usual)


def test_running_and_pooled_scales_standardise_what_was_seen() -> None:
    x = torch.cat(blocks(40))
    running, pooled = (scale.scaling(moments_of(*blocks(40)))(x) for scale in (RunningScale(), PooledScale()))
    torch.testing.assert_close(running.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(running.std(dim=0, correction=0), torch.ones(4))
    assert pooled.mean().item() == pytest.approx(0, abs=1e-5)
    assert pooled.std(correction=0).item() == pytest.approx(1)
    expected = (x - x.mean()) / x.std(correction=0)
    torch.testing.assert_close(pooled, expected.float())


def test_fixed_and_no_scale_do_what_they_say_whatever_was_seen() -> None:
    x, moments = torch.tensor([[1.0, 2.0]]), moments_of(torch.tensor([[7.0, 7.0]]).double())
    assert FixedScale((1.0, 0.0), 0.5).scaling(moments)(x).tolist() == [[0.0, 4.0]]
    assert NoScale().scaling(moments)(1e6 * x).tolist() == [[1e6, 2e6]]


@pytest.mark.parametrize("scale", [RunningScale(), PooledScale(), FixedScale(0.0)])
def test_all_but_no_scale_clip(scale: InputScale) -> None:
    scaling = scale.scaling(moments_of(*blocks(20)))
    assert scaling(torch.tensor([[1e30, -1e30, 1e15, -torch.inf]])).tolist() == [[CLIP, -CLIP, CLIP, -CLIP]]


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6, -1e9])
@pytest.mark.parametrize("scale", [RunningScale(), PooledScale()])
def test_features_that_never_varied_scale_to_zero(scale: InputScale, offset: float) -> None:
    constant = torch.full((3, 4), 0.1, dtype=torch.float32).double() + offset
    moments = moments_of(constant, constant, constant[:1])
    assert torch.equal(scale.scaling(moments)(constant), torch.zeros(3, 4))
    assert torch.equal(scale.scaling(no_moments(4, CPU))(constant), torch.zeros(3, 4))


def test_what_float32_rounds_away_is_not_variation() -> None:
    rounding = 1e6 + torch.tensor([[-0.03], [0.03], [0.0]]).double()
    assert torch.equal(RunningScale().scaling(moments_of(rounding))(rounding), torch.zeros(3, 1))
    variation = 1e6 + torch.tensor([[-1.0], [1.0], [0.0]]).double()
    assert RunningScale().scaling(moments_of(variation))(variation).abs().max() > 1


@pytest.mark.parametrize("scale", SCALES)
def test_a_missing_value_counts_as_its_mean(scale: InputScale) -> None:
    moments = moments_of(*blocks(6))
    scaling = scale.scaling(moments)
    assert torch.equal(scaling(torch.full((2, 4), torch.nan)), scaling(moments.mean.expand(2, 4)))


@pytest.mark.parametrize("scale", [RunningScale(), PooledScale(), FixedScale(50.0, 2.0), NoScale()])
def test_a_feature_without_any_value_counts_as_the_center(scale: InputScale) -> None:
    x = torch.tensor([[100.0, torch.nan], [140.0, torch.nan]]).double()
    assert scale.scaling(moments_of(x))(x)[:, 1].tolist() == [0, 0]


@pytest.mark.parametrize("scale", SCALES)
def test_carried_weights_are_the_same_function_of_x(scale: InputScale) -> None:
    parts = blocks(8)
    before, after = (scale.scaling(moments_of(*parts[:k])) for k in (4, 8))
    W = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.cat(parts)
    outputs = []
    for scaling, weights in ((before, W), (after, after.carry(W, before))):
        z = (x - scaling.center) / scaling.deviation
        outputs.append(append_one(z) @ weights.T)
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-10, atol=1e-10)


def test_a_feature_that_starts_to_vary_takes_its_weights_as_they_are() -> None:
    constant = torch.full((4, 2), 3.0).double()
    varying = torch.tensor([[3.0, 3.0], [3.0, 5.0]]).double()
    before, after = (RunningScale().scaling(moments_of(*parts)) for parts in ([constant], [constant, varying]))
    W = torch.tensor([[0.5, -2.0, 1.0]])
    assert torch.equal(after.carry(W, before), W)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_memories_in_fixed_coordinates_equal_those_of_all_raw_samples(scale: InputScale, offset: float) -> None:
    """Each block goes in under the scale of its time; at the end all are seen under the last one."""
    if offset and isinstance(scale, NoScale | FixedScale):
        pytest.skip("a net that sees 1e6 + noise in float32 has lost the noise before it learns")
    parts = [x for x in blocks(40, offset=offset) if len(x) > 7]  # a first block of some samples: no clipping
    codes = [torch.randn(len(x), 3, generator=torch.Generator().manual_seed(len(x))) for x in parts]
    moments, memory, shift = no_moments(4, CPU), empty_memory(4, 3, CPU), parts[0].mean(dim=0)
    for x, c in zip(parts, codes, strict=True):
        moments = moments.updated(x, torch.ones(len(x)).double())
        scaling = scale.scaling(moments)
        assert isinstance(scale, NoScale | FixedScale) or scaling(x).abs().max() < CLIP
        block = block_memory(append_one(scaling(x)), c, torch.ones(len(x)))
        memory = update_memory(memory, block.mapped(scaling.to_fixed(shift)), keep=1.0)
    last = scale.scaling(moments)
    seen = memory.mapped(last.from_fixed(shift))
    z = append_one((torch.cat(parts) - last.center) / last.deviation)
    c = torch.cat(codes).double()
    expected = Memory(z.T @ z, c.T @ z)
    assert (seen.A - expected.A).abs().max() < 1e-5 * expected.A.abs().max()
    assert (seen.B - expected.B).abs().max() < 1e-5 * expected.A.abs().max()


def test_congruence_and_right_are_products_with_the_maps_matrix() -> None:
    draw = torch.Generator().manual_seed(0)
    diag, offset = torch.randn(2, 4, generator=draw, dtype=torch.float64)
    M = torch.diag(torch.cat([diag, torch.ones(1)]))
    M[:-1, -1] = offset
    A = torch.randn(5, 5, generator=draw, dtype=torch.float64)
    A, B = A @ A.T, torch.randn(3, 5, generator=draw, dtype=torch.float64)
    A = (A + A.T) / 2
    mapped = Affine(diag, offset).congruence(A)
    torch.testing.assert_close(mapped, M @ A @ M.T, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(Affine(diag, offset).right(B), B @ M.T, rtol=1e-12, atol=1e-12)
    assert torch.equal(mapped, mapped.T)


def test_to_fixed_undoes_from_fixed() -> None:
    scaling, shift = RunningScale().scaling(moments_of(*blocks())), torch.tensor([1.0, -2.0, 1e6, 0.0]).double()
    there, back = scaling.from_fixed(shift), scaling.to_fixed(shift)
    torch.testing.assert_close(there.diag * back.diag, torch.ones(4).double())
    torch.testing.assert_close(there.diag * back.offset + there.offset, torch.zeros(4).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", SCALES)
def test_tensors_round_trip_and_share_no_memory(scale: InputScale) -> None:
    scaling = scale.scaling(moments_of(*blocks()))
    tensors = scaling.tensors()
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors.values()}) == len(tensors)
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    x = torch.cat(blocks(missing=0.2))
    assert torch.equal(Scaling.from_tensors(tensors)(x), scaling(x))


@pytest.mark.parametrize(
    ("mean", "deviation", "message"),
    [
        (0.0, 0.0, "deviation must be positive, not 0.0"),
        (0.0, (1.0, -2.0), "deviation must be positive, not -2.0"),
        (0.0, float("inf"), "deviation must be positive, not inf"),
        ((0.0, float("nan")), 1.0, "mean must be finite, not nan"),
    ],
)
def test_an_impossible_fixed_scale_is_refused_by_name(
    mean: float | tuple[float, ...], deviation: float | tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        FixedScale(mean, deviation)


def test_a_fixed_scale_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="mean must be one number or 4, not 3"):
        FixedScale((1.0, 2.0, 3.0)).scaling(no_moments(4, CPU))
