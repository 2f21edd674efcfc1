"""The state that a checkpoint or snapshot stores and `adopt` replaces: a JSON header and named tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FORMAT = 1

_DTYPES = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64}


class DamagedState(Exception):
    """Stored bytes do not match their digest, or are not of a form that this version reads."""


@dataclass(frozen=True)
class FoldState:
    """Header: learner, hyper-parameters, classes. Tensors: everything that later learning depends on, on the CPU."""

    header: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class StoredTensor:
    """`layout` is `dense`, row-major, or `triangle`: the lower triangle of a symmetric matrix, row by row."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: str
    sha256: str
    data: bytes


@dataclass(frozen=True)
class StoredState:
    """The bytes of a `FoldState`. `digest` covers the header and every tensor's name, dtype, shape and bytes."""

    header: str
    tensors: tuple[StoredTensor, ...]
    digest: str

    @property
    def size_bytes(self) -> int:
        return sum(len(tensor.data) for tensor in self.tensors)


def store(state: FoldState) -> StoredState:
    header = json.dumps({"format": FORMAT} | dict(state.header), sort_keys=True)
    tensors = tuple(_stored_tensor(name, state.tensors[name]) for name in sorted(state.tensors))
    return StoredState(header, tensors, _digest(header, tensors))


def load(stored: StoredState) -> FoldState:
    """Raises: DamagedState naming what does not match."""
    for tensor in stored.tensors:
        if hashlib.sha256(tensor.data).hexdigest() != tensor.sha256:
            raise DamagedState(f"tensor {tensor.name!r} does not match its sha256")
    if _digest(stored.header, stored.tensors) != stored.digest:
        raise DamagedState("the state does not match its digest")
    header = json.loads(stored.header)
    if header.pop("format") != FORMAT:
        raise DamagedState(f"state format is not {FORMAT}; it was written by another version")
    return FoldState(header, {tensor.name: _loaded_tensor(tensor) for tensor in stored.tensors})


def _stored_tensor(name: str, tensor: Tensor) -> StoredTensor:
    array = tensor.detach().cpu().contiguous().numpy()
    symmetric = _is_symmetric(array)
    values = array[_lower_triangle(len(array))] if symmetric else array
    data = values.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    layout = "triangle" if symmetric else "dense"
    return StoredTensor(name, str(array.dtype), array.shape, layout, hashlib.sha256(data).hexdigest(), data)


def _loaded_tensor(stored: StoredTensor) -> Tensor:
    if stored.dtype not in _DTYPES:
        raise DamagedState(f"tensor {stored.name!r} has dtype {stored.dtype!r}, not one of {', '.join(_DTYPES)}")
    values = np.frombuffer(stored.data, np.dtype(stored.dtype).newbyteorder("<"))
    if stored.layout == "triangle":
        array = np.empty(stored.shape, values.dtype)
        lower = _lower_triangle(len(array))
        array[lower] = array.T[lower] = values
    else:
        array = values.reshape(stored.shape)
    return torch.tensor(array, dtype=_DTYPES[stored.dtype])  # a copy: torch's own alignment, no read-only buffer


def _is_symmetric(array: NDArray[Any]) -> bool:
    """Bit for bit: 0.0 is not -0.0, and a NaN is itself."""
    if array.ndim != 2 or not array.shape[0] == array.shape[1] > 1:
        return False
    bits = array.view(f"i{array.itemsize}")
    return np.array_equal(bits, bits.T)


def _lower_triangle(size: int) -> NDArray[np.bool_]:
    return np.tri(size, dtype=np.bool_)


def _digest(header: str, tensors: tuple[StoredTensor, ...]) -> str:
    lines = [header, *(f"{t.name} {t.dtype} {t.shape} {t.layout} {t.sha256}" for t in tensors)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
