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
import re
import sys

from benchmarks.memory import peak_bytes

ROOT = pathlib.Path(__file__).parents[1]
TARGET = r'[ah]100(x[1-9]\d*)?|v\d\w*:\d+(x\d+)+'
# each is a file of `benchmarks/`
WORKLOADS = ('reward', 'dpo', 'score', 'policy', 'generate', 'load', 'checkpoint')


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags; the shape's defaults are those of the peers' scripts."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument('--workload', default='reward')
    flags.add_argument('--tuning', default='lora', help='a name of docs/tunings.md')
    flags.add_argument('--quantization', default='none', help='of the frozen base')
    flags.add_argument('--dtype', default='float32', help='of compute and base')
    flags.add_argument('--precision', default='highest', help='of float32 products')
    for name, value in {
        'rank': 8, 'd': 256, 'layers': 4, 'heads': 4, 'kv_heads': 0, 'ff': 688,
        'vocab': 4096, 'seq': 256, 'pairs': 8, 'shared': 0, 'samples': 1, 'prompt': 128,
        'response': 48, 'new': 128, 'batch': 16, 'minibatches': 1, 'epochs': 4,
        'prompts': 0, 'mean': 0, 'steps': 20, 'iters': 8, 'calls': 12,
        'warmup': 3, 'threads': 0, 'devices': 1,
    }.items():  # fmt: skip
        flags.add_argument(f'--{name}', type=int, default=value)
    flags.add_argument(
        '--target', default='', help='of --abstract: h100, a100, h100x4, or v5e:2x2'
    )
    flags.add_argument('--mesh', default='1,1,1', help='of --target')
    flags.add_argument('--attention', default='auto', help='as model.attention')
    flags.add_argument('--folder', default='', help='of load and checkpoint')
    flags.add_argument('--temperature', type=float, default=1.0)
    for name in ('scan', 'remat', 'abstract', 'apart'):
        flags.add_argument(f'--{name}', action='store_true')
    args = flags.parse_args(argv)
    if args.workload not in WORKLOADS:
        flags.error(f'--workload must be one of {", ".join(WORKLOADS)}')
    if args.workload == 'checkpoint' and not args.folder:
        flags.error('--workload=checkpoint needs --folder')
    uneven = args.batch % args.samples or args.prompts * args.samples % args.batch
    if args.workload == 'generate' and uneven:
        flags.error('--samples must divide --batch, and --batch all responses')
    if args.abstract and args.workload not in ('reward', 'dpo', 'policy'):
        flags.error('--abstract is of --workload=reward, dpo and policy')
    if args.target and not re.fullmatch(TARGET, args.target):
        flags.error(f'--target={args.target} is none of h100, a100, h100x4, v5e:2x2')
    if not re.fullmatch(r'\d+,\d+,\d+', args.mesh):
        flags.error(f'--mesh={args.mesh} must be three numbers of devices')
    if args.target and not args.abstract:
        flags.error(f'--target={args.target} needs --abstract: nothing runs there')
    if not args.rank and args.workload != 'generate':  # as the peers' scripts have it
        args.tuning = 'full'
    return args


def measure(argv: list[str] | None = None) -> dict:
    """What the peers' scripts print, of ours."""
    args = parse(argv)
    if args.threads:  # XLA sizes its CPU thread pool by the affinity mask
        cores = sorted(os.sched_getaffinity(0))[: args.threads]
        os.sched_setaffinity(0, cores)
    if args.devices > 1:  # read when a workload imports jax
        count = f'--xla_force_host_platform_device_count={args.devices}'
        os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {count}'
    os.environ.update(environment(args.target))
    sys.path.insert(0, str(ROOT))
    workload = importlib.import_module(f'benchmarks.{args.workload}')
    figures = workload.measure(args)
    full = args.tuning == 'full'
    return {
        'system': 'perl full' if full else 'perl',
        'workload': args.workload,
        'rank': 0 if full else args.rank,
        'devices': args.devices,
        'peak_rss_mb': round(peak_bytes() / 2**20),
        **figures,
    }


def environment(target: str) -> dict[str, str]:
    """What JAX reads when it is imported, for a device that is not there."""
    if target.startswith(('h100', 'a100')):  # on which no kernel can be tried
        flag = '--xla_gpu_autotune_level=0'
        return {'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {flag}'}
    if target:  # whose name no server can be asked for
        return {
            'TPU_SKIP_MDS_QUERY': '1',
            'TPU_WORKER_HOSTNAMES': 'localhost',
            'TPU_ACCELERATOR_TYPE': 'v5e-4',
        }
    return {}


if __name__ == '__main__':
    print(json.dumps(measure()))
