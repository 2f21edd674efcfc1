"""Random numbers without a generator: a number is a hash of its place and of a key that belongs to a learner's state.

So a seeded run repeats, a stored and loaded one goes on bit for bit, and nobody waits for the device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BITS = 32
_MASK = 2**BITS - 1
_WEYL = 0x9E3779B9
"""Odd, so that keys come again only after 2³² blocks; 2³² over the golden ratio, so that neighbours are far apart."""


def first_key(seed: int, device: torch.device) -> Tensor:
    """0-dim int64. Seeds that are equal modulo 2³² have the same."""
    return torch.tensor(seed % 2**BITS, dtype=torch.int64, device=device)


def next_key(key: Tensor) -> Tensor:
    return torch.bitwise_and(key + _WEYL, _MASK)


def gaussian(key: Tensor, shape: tuple[int, ...], *, stream: int) -> Tensor:
    """N(0, 1), float32 of `shape` on the key's device.

    Args: key: of this block, 0-dim; stream: tells draws under one key apart, from 0.
    Source: Box & Muller 1958; the hash is Wellons's lowbias32 (2018).
    """
    places = torch.arange(math.prod(shape), device=key.device)
    radius = (-2 * _uniform(key, places, 2 * stream).log()).sqrt()
    angle = 2 * math.pi * _uniform(key, places, 2 * stream + 1)
    return (radius * angle.cos()).float().view(shape)


def _uniform(key: Tensor, places: Tensor, stream: int) -> Tensor:
    """In (0, 1), float64."""
    salt = _hash(_hash(key) + _WEYL * (stream + 1) & _MASK)
    bits = _hash(_hash(places) + salt & _MASK)
    uniform: Tensor = (bits.double() + 0.5) / 2**BITS
    return uniform


def _hash(numbers: Tensor) -> Tensor:
    """A bijection of 32-bit numbers. Its factors lie within ±2³¹, so that no product leaves int64."""
    numbers = numbers ^ (numbers >> 16)
    numbers = (numbers * 0x7FEB352D) & _MASK
    numbers = numbers ^ (numbers >> 15)
    numbers = (numbers * (0x846CA68B - 2**BITS)) & _MASK
    return numbers ^ (numbers >> 16)
