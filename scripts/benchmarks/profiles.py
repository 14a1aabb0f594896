"""Where the time of one call goes: by kind of operation, and by the file that asked for
it.

It is not `profile.py`: a script of this folder, run by its path, would import that one
in place of the module of Python that PyTorch needs.
"""

import collections
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from benchmarks import hlo


class Event(NamedTuple):
    """One operation as the device ran it.

    Attributes:
        program: its name, '' if unknown.
        name: of the operation in the program, or of the kernel.
        start, end: nanoseconds.
    """

    program: str
    name: str
    start: float
    end: float


def shares(call: Callable[[], Any]) -> dict[str, Any]:
    """Traces one call and prints a table of it.

    `seconds` is the time of the traced call, which is slower than others; `busy` the
    share of it in which the device ran an operation. `kinds` and `parts` are shares of
    the time of all operations, which add up over the threads of a CPU.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            began = time.perf_counter()
            jax.block_until_ready(call())
            seconds = time.perf_counter() - began
        (file,) = pathlib.Path(folder).rglob('*.xplane.pb')
        events = [*_events(jax.profiler.ProfileData.from_file(str(file)))]
    known = hlo.operations({event.program for event in events})
    kinds, parts, ran = collections.Counter(), collections.Counter(), []
    for event in events:
        operation = known.get((event.program, event.name))
        if operation is None:
            operation = hlo.Operation(hlo.kind_of_kernel(event.name), '')
        if operation.kind:
            kinds[operation.kind] += event.end - event.start
            parts[operation.part or 'unknown'] += event.end - event.start
            ran.append(event)
    found = {
        'seconds': round(seconds, 4),
        'busy': round(_covered(ran) / 1e9 / seconds, 3),
        'kinds': _of_all(kinds),
        'parts': _of_all(parts),
    }
    _print(found)
    return found


def _events(data: Any) -> Iterator[Event]:
    """The operations of a trace: those of the streams of an accelerator, if it has
    one, else those of the threads of a CPU."""
    planes = [plane for plane in data.planes if plane.name.startswith('/device:')]
    lines = [
        line
        for plane in planes
        for line in plane.lines
        if line.name.startswith('Stream') or line.name == 'XLA Ops'
    ]
    if not lines:
        lines = [line for plane in data.planes for line in plane.lines]
    for line in lines:
        for event in line.events:
            stats = dict(event.stats)
            if 'hlo_op' in stats or planes:
                program = stats.get('hlo_module', '')
                yield Event(
                    program.partition('(')[0],  # on a TPU a number follows
                    stats.get('hlo_op', event.name),
                    event.start_ns,
                    event.start_ns + event.duration_ns,
                )


def _covered(events):
    """Nanoseconds in which one of the events or more ran."""
    total, until = 0.0, 0.0
    for event in sorted(events, key=lambda event: event.start):
        total += max(0.0, event.end - max(event.start, until))
        until = max(until, event.end)
    return total


def _of_all(counter):
    """Shares of the sum, the largest first; what is below 0.1 % is left out."""
    total = sum(counter.values())
    rows = ((name, round(x / total, 3)) for name, x in counter.most_common())
    return {name: share for name, share in rows if share}


def _print(found):
    for name in ('kinds', 'parts'):
        print(f'{found["seconds"]} s, by {name}:', file=sys.stderr)
        for label, share in [*found[name].items()][:12]:
            print(f'  {share:6.1%}  {label}', file=sys.stderr)
