"""The service with a route that does nothing, and on request with a learner that only counts, as a module to be run."""

from __future__ import annotations

import sys

import torch
from fastapi import FastAPI
from torch import Tensor

import service.serve
from benchmarks.load import COUNTING, NO_OP
from models.anchored import AnchoredAMMem
from models.learner import LEARNERS
from service.app import create_app
from service.cli import main
from service.services import Services


class CountingLearner(AnchoredAMMem):
    """Takes every block and learns nothing; the fold counts its samples, predicts them and writes checkpoints as ever."""

    def learn(self, inputs: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
        return torch.tensor(True)


def app_with_no_op(services: Services) -> FastAPI:
    app = create_app(services)

    @app.api_route(NO_OP, methods=["GET", "POST"])
    async def no_op() -> dict[str, str]:
        return {}

    return app


if __name__ == "__main__":
    vars(service.serve)["create_app"] = app_with_no_op
    if COUNTING in sys.argv:
        sys.argv.remove(COUNTING)
        LEARNERS["am-mem"] = (LEARNERS["am-mem"][0], CountingLearner)
    main()
