"""What the tests of `models` share: one thread, every device at hand, and small streams of blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

Block = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture
def make_blocks() -> Callable[..., list[Block]]:
    """make_blocks(sizes, seed=…, inputs=…, classes=…): blocks (x, y, w) of separable classes, some values missing."""

    def make(sizes: list[int], *, seed: int, inputs: int = 5, classes: int = 3, missing: float = 0.1) -> list[Block]:
        draw = torch.Generator().manual_seed(seed)
        centers = 2 * torch.randn(classes, inputs, generator=torch.Generator().manual_seed(0))
        blocks = []
        for n in sizes:
            y = torch.randint(classes, (n,), generator=draw)
            x = centers[y] + torch.randn(n, inputs, generator=draw)
            absent = torch.rand(n, inputs, generator=draw) < missing
            blocks.append((x.masked_fill(absent, torch.nan), y, 0.5 + torch.rand(n, generator=draw)))
        return blocks

    return make
