"""Snapshot files for tests: read apart, changed, and put together again so that only the change is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from service import exchange, state
from service.entry_id import EntryId
from service.fold import Fold
from service.repositories.checkpoints import Position
from service.spec import ModelSpec
from service.state import FoldState


@dataclass
class File:
    """A snapshot file taken apart."""

    manifest: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, content: bytes) -> File:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return cls(json.loads(header["__metadata__"][exchange.METADATA_KEY]), safetensors.torch.load(content))

    def sealed(self, *, digest: bool = True, checksum: bool = True) -> bytes:
        """As bytes; with the digest and checksum of what is in it now, where wanted."""
        if digest:
            self.manifest["digest"] = state.store(FoldState(self.manifest["header"], self.tensors)).digest
        if checksum:
            self.manifest["checksum"] = exchange.checksum(self.manifest)
        tensors = {name: tensor.clone().contiguous() for name, tensor in self.tensors.items()}
        return safetensors.torch.save(tensors, metadata={exchange.METADATA_KEY: json.dumps(self.manifest)})


def changed(content: bytes, change: Callable[[File], object], **sealing: bool) -> bytes:
    file = File.of(content)
    change(file)
    return file.sealed(**sealing)


def raw(header: Any, data: bytes = b"") -> bytes:
    """A file of this header and data, whatever they are."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


def learned(spec: ModelSpec, blocks: int = 3, *, seed: int = 0, offset: float = 0.0, scale: float = 1.0) -> Fold:
    """A fold that has learned some blocks of 8 samples."""
    fold = Fold(spec, device="cpu")
    draw = torch.Generator().manual_seed(seed)
    for _ in range(blocks):
        x = torch.randn(8, spec.inputs, generator=draw) * scale + offset
        fold._known.learner.learn(x, torch.randint(len(spec.classes), (8,), generator=draw))
    return fold


def written(fold: Fold) -> bytes:
    digest = state.store(fold.state()).digest
    return exchange.write(
        fold.spec, fold.state(), digest=digest, position=Position(EntryId(7, 1), 3, 24), created_at=1.5
    )
