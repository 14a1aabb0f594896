"""Speed and memory on random weights, one JSON line last.

    python scripts/benchmark.py --workload=reward --tuning=lora --rank=8
    python scripts/benchmark.py --workload=dpo --shared=192
    python scripts/benchmark.py --workload=score --shared=192 --samples=4
    python scripts/benchmark.py --workload=policy --batch=16 --prompt=128 --response=48
    python scripts/benchmark.py --workload=generate --prompt=128 --new=128
    python scripts/benchmark.py --workload=generate --prompts=64 --mean=32
    python scripts/benchmark.py --workload=load --dtype=float16 --d=2048 --layers=16 ...
    python scripts/benchmark.py --workload=reward --abstract --d=2048 --layers=28 ...
    python scripts/benchmark.py --workload=policy --abstract --target=h100 ...

    python scripts/benchmark.py --workload=reward --profile
    python scripts/benchmark.py --workload=reward --peer='PYTHON rm_trl.py' --turns=3
    python scripts/benchmark.py --plot=FOLDER

`--shape=llama3-8b` sets the shape of a known model (`benchmarks/flags.py` lists them);
flags such as `--layers` still change it.

A row says what share of the machine it reached: operations a second (counted as
`benchmarks/flops.py` says) beside those of a large matrix product in the same dtype and
precision, and, of decoding, bytes a second beside those of a copy. Both are measured in
the same process (`benchmarks/ceiling.py`).

`--profile` traces one more step and says where its time goes
(`benchmarks/profiles.py`).

`--peer=COMMAND` runs another program in turns with this one, with the same flags
(`benchmarks/peers.py`), and prints the ratio of the medians.

`--shared=P` makes the first P of the `--seq` tokens of a row a prompt that the
completions of one example have in common; it is encoded once, or, with `--apart`, again
for each of them.

`--prompts=64 --samples=4` samples 256 responses in `--batch` slots that are refilled,
and in batches that wait; with `--mean=32` a token ends a response one time in 32.

`--devices=2` cuts the CPU in two devices with half of each batch: two threads that
wait for nobody, where XLA runs many small operations on one.

`--abstract` compiles the programs of reward, dpo or policy for arrays that are never
made and prints what they need: a 70B model fits on a laptop that way, with every
tuning.
`--target=h100` (or `a100`) compiles them for a GPU that need not be there,
`--target=h100x4` for four of them, `--target=v5e:2x2` for TPUs
(`benchmarks/target.py`); `--mesh=1,4,1` divides them: data, fsdp, tensor.
"""

import argparse
import importlib
import json
import os
import pathlib
import sys

from benchmarks import flags
from benchmarks.memory import peak_bytes

ROOT = pathlib.Path(__file__).parents[1]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of a command line."""
    return flags.parse(argv, __doc__.splitlines()[0])


def measure(argv: list[str] | None = None) -> dict:
    """What the peers' scripts print, of ours."""
    args = parse(argv)
    if args.plot:
        return importlib.import_module('benchmarks.plot').measure(args)
    if args.peer:
        turns = importlib.import_module('benchmarks.peers')
        return turns.measure(args, sys.argv[1:] if argv is None else argv)
    if args.threads:  # XLA sizes its CPU thread pool by the affinity mask
        cores = sorted(os.sched_getaffinity(0))[: args.threads]
        os.sched_setaffinity(0, cores)
    os.environ.update(environment(args))  # read when a workload imports jax
    sys.path.insert(0, str(ROOT))
    workload = importlib.import_module(f'benchmarks.{args.workload}')
    figures = workload.measure(args)
    peak = peak_bytes()  # before the ceilings are measured
    full = args.tuning == 'full'
    row = {
        'system': 'perl full' if full else 'perl',
        'workload': args.workload,
        'rank': 0 if full else args.rank,
        'devices': args.devices,
        'peak_rss_mb': round(peak / 2**20),
        **figures,
    }
    row['flags'] = flags.changed(args)
    if args.abstract:  # no device is asked for what it is
        return row
    rows = importlib.import_module('benchmarks.rows')
    return row | rows.memory() | rows.shares(args, figures) | rows.machine()


def environment(args: argparse.Namespace) -> dict[str, str]:
    """What JAX reads when it is imported."""
    options, found = [], {}
    if args.devices > 1:
        options.append(f'--xla_force_host_platform_device_count={args.devices}')
    if args.profile:  # an operation inside of a CUDA graph has no name in a trace
        options.append('--xla_gpu_enable_command_buffer=')
    if args.target.startswith(('h100', 'a100')):  # on which no kernel can be tried
        options.append('--xla_gpu_autotune_level=0')
    elif args.target:  # whose name no server can be asked for
        found = {
            'TPU_SKIP_MDS_QUERY': '1',
            'TPU_WORKER_HOSTNAMES': 'localhost',
            'TPU_ACCELERATOR_TYPE': 'v5e-4',
        }
    if options:
        found['XLA_FLAGS'] = ' '.join([os.environ.get('XLA_FLAGS', ''), *options])
    return found


if __name__ == '__main__':
    print(json.dumps(measure()))
