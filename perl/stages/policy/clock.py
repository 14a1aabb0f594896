"""Seconds of the phases of an iteration."""

import time
from typing import Any

import jax


class Clock:
    """Seconds of each phase, measured when its arrays are there."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def mark(self, phase: str, arrays: Any) -> None:
        """Ends a phase, when its arrays are there."""
        jax.block_until_ready(arrays)
        now = time.monotonic()
        self.seconds[f'seconds_{phase}'] = now - self._last
        self._last = now
