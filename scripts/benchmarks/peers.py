"""Our workload and a peer's program in alternating turns, each in its own process.

The peer's program takes flags with the names of ours, those of the shape and of the
work, prints them with `--help`, and prints one JSON row as its last line, with the same
`seconds_per_...`. `benchmarks/peft_gpu.py` is one; it needs PEFT and transformers.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence

COMMAND = pathlib.Path(__file__).parents[1] / 'benchmark.py'
SECONDS = {
    'reward': 'seconds_per_step',
    'policy': 'seconds_per_iteration',
    'generate': 'seconds_per_call',
}
_MODEL = ('d', 'layers', 'heads', 'kv_heads', 'ff', 'vocab', 'dtype', 'rank', 'threads')
_WORK = {
    'reward': ('seq', 'pairs', 'steps'),
    'policy': ('prompt', 'response', 'batch', 'epochs', 'iters'),
    'generate': ('prompt', 'new', 'batch', 'calls', 'warmup', 'temperature'),
}
# a peer that has no such flag does this
_IMPLIED = {
    **{'kv_heads': 0, 'dtype': 'float32', 'quantization': 'none', 'temperature': 1.0},
    **{'shared': 0, 'samples': 1, 'prompts': 0, 'mean': 0, 'minibatches': 1},
}


def measure(args: argparse.Namespace, argv: Sequence[str]) -> dict:
    """The rows of both, turn by turn, the medians of their seconds, and how many times
    as long the peer takes.

    Raises:
        SystemExit: the peer's program fails, or cannot do what the flags ask.
    """
    ours = [sys.executable, str(COMMAND), *_without_turns(argv)]
    peer = [*shlex.split(args.peer), *peer_flags(args, known(args.peer))]
    name, rows = SECONDS[args.workload], {'ours': [], 'peer': []}
    for turn in range(args.turns):
        for side, command in (('ours', ours), ('peer', peer)):
            rows[side].append(row(command))
            seconds = rows[side][-1][name]
            print(f'turn {turn + 1}, {side}: {seconds} s', file=sys.stderr, flush=True)
    medians = {side: statistics.median(x[name] for x in rows[side]) for side in rows}
    return {
        'workload': args.workload,
        'turns': args.turns,
        **{f'{side}_{name}': x for side, x in medians.items()},
        'times_as_fast': round(medians['peer'] / medians['ours'], 3),
        **rows,
    }


def known(command: str) -> set[str]:
    """The names of the flags that the program's `--help` lists."""
    shown = _output([*shlex.split(command), '--help'])
    return set(re.findall(r'--(\w+)', shown))


def peer_flags(args: argparse.Namespace, names: set[str]) -> list[str]:
    """Our shape and work as flags of a program that has flags of these names.

    Raises:
        SystemExit: it has no flag for something that ours would do.
    """
    if args.tuning not in ('lora', 'full'):
        raise SystemExit(f'--tuning={args.tuning}: peers have lora and full alone')
    values = vars(args) | {'threads': args.threads or len(os.sched_getaffinity(0))}
    if args.tuning == 'full':
        values['rank'] = 0
    passed = {*_MODEL, *_WORK[args.workload]} & names
    for name, implied in _IMPLIED.items():
        if values[name] != implied and name not in passed:
            raise SystemExit(
                f'--{name}={values[name]}: the peer has no such flag; leave it at '
                f'{implied}, or take another peer'
            )
    return [f'--{name}={values[name]}' for name in sorted(passed)]


def row(command: Sequence[str]) -> dict:
    """The last line that a program prints, read as JSON.

    Raises:
        SystemExit: the program fails, or that line is not JSON.
    """
    lines = _output(command).splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        raise SystemExit(f'{shlex.join(command)}: its last line is no JSON') from None


def _output(command):
    """What a program prints."""
    try:
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f'--peer: {error}') from None
    return ended.stdout


def _without_turns(argv):
    """Our flags for one turn of ours."""
    own, skip = [], False
    for flag in argv:
        if not skip and not flag.startswith(('--peer', '--turns')):
            own.append(flag)
        skip = flag in ('--peer', '--turns')  # its value is the next word
    return own
