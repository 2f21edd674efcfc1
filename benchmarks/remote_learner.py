"""A model behind HTTP as something that `prequential` can run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amstream_client import Accepted, Client


@dataclass(frozen=True)
class Post:
    inputs: Tensor
    targets: Tensor
    key: str
    accepted: Accepted


class RemoteLearner:
    """Class indices are the labels. Every prediction waits for the entry posted last, so figures are exact.

    Args: model: its name; it must exist.
    """

    def __init__(self, client: Client, model: str) -> None:
        self.client = client
        self.model = model
        self.posts: list[Post] = []

    @property
    def samples_posted(self) -> int:
        return sum(post.accepted.accepted for post in self.posts)

    @property
    def last_entry(self) -> str | None:
        return self.posts[-1].accepted.entries[-1] if self.posts else None

    def predict(self, inputs: Tensor) -> Tensor:
        answer = self.client.predict(self.model, inputs.numpy(), min_entry=self.last_entry)
        return torch.tensor(answer.probabilities)

    def learn(self, inputs: Tensor, targets: Tensor) -> None:
        key = f"block-{len(self.posts)}"
        self.posts.append(Post(inputs, targets, key, self._post(inputs, targets, key)))

    def repeat_last(self) -> Accepted:
        """Sends the last post again under its key, as a client does that never saw the answer."""
        last = self.posts[-1]
        return self._post(last.inputs, last.targets, last.key)

    def _post(self, inputs: Tensor, targets: Tensor, key: str) -> Accepted:
        return self.client.learn(self.model, inputs.numpy(), targets.tolist(), idempotency_key=key)
