"""The workloads of `scripts/benchmark.py`, one a file, and what they share."""
