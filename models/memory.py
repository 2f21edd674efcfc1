"""The co-activation memories A and B of one layer (eq. 7): all that AM-mem keeps of the samples it has seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.scaling import Affine


@dataclass(frozen=True)
class Memory:
    """A = Σ a aᵀ, (n_in + 1, n_in + 1), and B = Σ c aᵀ, (n_out, n_in + 1), both float64, a ending in the bias's 1."""

    A: Tensor
    B: Tensor

    def mapped(self, affine: Affine) -> Memory:
        """The same memories as if every a had been `affine` applied to a."""
        return Memory(A=affine.congruence(self.A), B=affine.right(self.B))


def empty_memory(n_in: int, n_out: int, device: torch.device) -> Memory:
    """A_0 = 0 and B_0 = 0 for a layer of n_in inputs (the bias not counted) and n_out units."""
    A = torch.zeros(n_in + 1, n_in + 1, dtype=torch.float64, device=device)
    return Memory(A=A, B=A.new_zeros(n_out, n_in + 1))


def co_activations(rows: Tensor, weight: Tensor) -> Tensor:
    """Σ w a aᵀ over rows a, multiplied in float32, returned in float64, exactly symmetric.

    Args: rows: (…, n, h); weight: (n,). Returns: (…, h, h).
    """
    A = (rows * weight.unsqueeze(1)).mT @ rows
    return ((A + A.mT) / 2).double()


def ridge_of(A: Tensor, ridge: float) -> Tensor:
    """λ, 0-dim > 0: `ridge` times the mean of diag A over what was ever active; the rest says nothing about the others."""
    diagonal = A.diagonal()
    live = (diagonal > 0).sum().clamp_min(1)
    return ridge * diagonal.sum() / live + torch.finfo(A.dtype).tiny


def block_memory(activations: Tensor, codes: Tensor, weight: Tensor) -> Memory:
    """Σ w a aᵀ and Σ w c aᵀ over one block, multiplied in float32, returned in float64, A exactly symmetric.

    Args:
        activations: rows a^{l−1} with the appended 1, (N, n_in + 1): one a sample, position or time step.
        codes: c^l, (N, n_out).
        weight: (N,).
    """
    B = codes.T @ (activations * weight.unsqueeze(1))
    return Memory(A=co_activations(activations, weight), B=B.double())


def update_memory(memory: Memory, block: Memory, *, keep: Tensor | float) -> Memory:
    """Algorithm 2.3, updateMemory, for one layer and one block: A ← keep·A + Σ w a aᵀ, B ← keep·B + Σ w c aᵀ.

    Args:
        keep: share of the past that is kept, see `horizon_keep` and `rescaling_keep`; 1 never forgets.
    Differs from the paper: `keep` (the paper's is 1), sample weights, and it runs once per layer and block (the paper's
        listing calls a loop over layers inside a loop over layers).
    """
    return Memory(A=block.A + keep * memory.A, B=block.B + keep * memory.B)


def minibatch_keep(blocks: Tensor, n: int) -> Tensor:
    """β of Mairal's mini-batch extension: the past of `blocks` blocks fades fast at first, hardly at all after n blocks.

    β = (θ + 1 − n)/(θ + 1) with θ = t·n while t < n and n² + t − n from there on, t = blocks + 1.

    Args: blocks: learned before, 0-dim; n: samples of this one.
    Source: Mairal et al. 2009, section 3.4.
    """
    t = blocks.double() + 1
    theta = torch.where(t < n, t * n, n**2 + t - n)
    return (theta + 1 - n) / (theta + 1)


def power_keep(samples: Tensor, n: int, power: float) -> Tensor:
    """(1 − n/t)^ρ with t = samples + n: the past counts the less the younger the stream, by a power of its age.

    Args: samples: learned before, 0-dim; n: of this block; power: ρ, 0 never forgets.
    Source: Mairal et al. 2010, section 3.4, counted in samples instead of blocks.
    """
    seen = samples.double()
    return (seen / (seen + n)) ** power
