"""The service: an HTTP API, a learner per model, and what both persist."""

__version__ = "0.1.0"
