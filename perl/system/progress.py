"""Shows the progress of a stage: a bar on a terminal, else a line per half minute."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

import tqdm

from perl.system import hosts

EVERY = 30.0  # seconds between two lines


class Progress:
    """A context that counts steps and shows the progress on stderr."""

    def __init__(self, total: int, done: int, name: str, shown: tuple[str, ...] = ()):
        """Starts the clock.

        Args:
            total: number of steps of the stage.
            done: number of steps done in earlier processes.
            name: name of the stage.
            shown: names of the metrics to show.
        """
        self._total, self._done, self._name, self._shown = total, done, name, shown
        # tqdm shows nothing where stderr is not a terminal
        self._bar = tqdm.tqdm(
            total=total,
            initial=done,
            desc=name,
            disable=None if hosts.is_first() else True,
        )
        self._began = self._printed = self._last = time.monotonic()
        self._first, self._compiled = done, None

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def step(self, figures: Mapping[str, float]) -> None:
        """Counts a step and shows some of its figures."""
        self._done += 1
        if not hosts.is_first():
            return
        shown = {
            name: f'{figures[name]:.3g}' for name in self._shown if name in figures
        }
        if not self._bar.disable:
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update()
            return
        now = time.monotonic()
        took, self._last = now - self._last, now
        if self._compiled is None:  # the first step compiles, so it tells no speed
            self._compiled = now
        # print now if the next step would probably end more than EVERY after a line
        if now - self._printed + took > EVERY:
            self._printed = now
            print(self._line(now, shown), file=sys.stderr, flush=True)

    def _line(self, now, shown):
        parts = [f'step {self._done} of {self._total}', *self._speed(now)]
        parts += [f'{name} {value}' for name, value in shown.items()]
        return f'{self._name}: {", ".join(parts)}'

    def _speed(self, now):
        """The speed and the time that is left, from the third step on."""
        steps = self._done - self._first
        if steps < 3:
            took = self._compiled - self._began
            return [f'the first step took {took:.3g} s with its compilation']
        rate = (steps - 1) / max(now - self._compiled, 1e-9)
        speed = f'{rate:.3g} steps/s' if rate >= 1 else f'{1 / rate:.3g} s a step'
        left = tqdm.tqdm.format_interval((self._total - self._done) / rate)
        return [speed, f'{left} left']
