"""Benchmarks of amstream: `python -m benchmarks list | run NAME`, and the demo, `python -m benchmarks.demo`."""
