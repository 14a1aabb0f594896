"""The flags of `scripts/benchmark.py`. Reads no JAX: what they say is set before."""

import argparse
import re

# each is a file of `benchmarks/`
WORKLOADS = (
    *('reward', 'dpo', 'score', 'policy', 'generate', 'load', 'checkpoint'),
    'ceiling',
)
# the first is that of the peers' scripts
SHAPES = {
    'small': {'d': 256, 'layers': 4, 'heads': 4, 'ff': 688, 'vocab': 4096},
    'smollm2-135m': {
        **{'d': 576, 'layers': 30, 'heads': 9, 'kv_heads': 3},
        **{'ff': 1536, 'vocab': 49152},
    },
    'llama3-1b': {
        **{'d': 2048, 'layers': 16, 'heads': 32, 'kv_heads': 8},
        **{'ff': 8192, 'vocab': 128256},
    },
    'llama2-7b': {'d': 4096, 'layers': 32, 'heads': 32, 'ff': 11008, 'vocab': 32000},
    'llama3-8b': {
        **{'d': 4096, 'layers': 32, 'heads': 32, 'kv_heads': 8},
        **{'ff': 14336, 'vocab': 128256},
    },
}
TARGET = r'[ah]100(x[1-9]\d*)?|v\d\w*:\d+(x\d+)+'


def parse(argv: list[str] | None, description: str) -> argparse.Namespace:
    """The flags; the defaults are those of the peers' scripts.

    Raises:
        SystemExit: flags that do not go together.
    """
    flags = declared(description)
    shape = SHAPES[flags.parse_known_args(argv)[0].shape]
    flags.set_defaults(**shape)
    args = flags.parse_args(argv)
    if wrong := _wrong(args):
        flags.error(wrong)
    if not args.rank and args.workload != 'generate':  # as the peers' scripts have it
        args.tuning = 'full'
    return args


def changed(args: argparse.Namespace) -> dict[str, int | float | str | bool]:
    """The flags that differ from those of the peers' scripts."""
    defaults = vars(parse([], ''))
    return {name: x for name, x in vars(args).items() if x != defaults[name]}


def declared(description: str) -> argparse.ArgumentParser:
    """Every flag."""
    flags = argparse.ArgumentParser(description=description)
    flags.add_argument('--workload', default='reward', choices=WORKLOADS)
    flags.add_argument('--shape', default='small', choices=SHAPES, help='of the model')
    flags.add_argument('--tuning', default='lora', help='a name of docs/tunings.md')
    flags.add_argument('--quantization', default='none', help='of the frozen base')
    flags.add_argument('--dtype', default='float32', help='of compute and base')
    flags.add_argument('--precision', default='highest', help='of float32 products')
    for name, value in {
        'rank': 8, 'd': 0, 'layers': 0, 'heads': 0, 'kv_heads': 0, 'ff': 0,
        'vocab': 0, 'seq': 256, 'pairs': 8, 'shared': 0, 'samples': 1, 'prompt': 128,
        'response': 48, 'new': 128, 'batch': 16, 'minibatches': 1, 'epochs': 4,
        'prompts': 0, 'mean': 0, 'steps': 20, 'iters': 8, 'calls': 12,
        'warmup': 3, 'threads': 0, 'devices': 1, 'turns': 3,
    }.items():  # fmt: skip
        flags.add_argument(f'--{name}', type=int, default=value)
    flags.add_argument(
        '--target', default='', help='of --abstract: h100, a100, h100x4, or v5e:2x2'
    )
    flags.add_argument('--mesh', default='1,1,1', help='of --target')
    flags.add_argument('--attention', default='auto', help='as model.attention')
    flags.add_argument('--folder', default='', help='of load and checkpoint')
    flags.add_argument('--peer', default='', help='a command that takes turns with us')
    flags.add_argument('--plot', default='', help='a folder of rows, to be drawn')
    flags.add_argument('--temperature', type=float, default=1.0)
    for name in ('scan', 'remat', 'abstract', 'apart', 'profile'):
        flags.add_argument(f'--{name}', action='store_true')
    return flags


def _wrong(args):
    """What is wrong with flags that do not go together, or None."""
    if args.workload == 'checkpoint' and not args.folder:
        return '--workload=checkpoint needs --folder'
    uneven = args.batch % args.samples or args.prompts * args.samples % args.batch
    if args.workload == 'generate' and uneven:
        return '--samples must divide --batch, and --batch all responses'
    if args.abstract and args.workload not in ('reward', 'dpo', 'policy'):
        return '--abstract is of --workload=reward, dpo and policy'
    if args.target and not re.fullmatch(TARGET, args.target):
        return f'--target={args.target} is none of h100, a100, h100x4, v5e:2x2'
    if not re.fullmatch(r'\d+,\d+,\d+', args.mesh):
        return f'--mesh={args.mesh} must be three numbers of devices'
    if args.target and not args.abstract:
        return f'--target={args.target} needs --abstract: nothing runs there'
    if args.peer and args.workload not in ('reward', 'policy', 'generate'):
        return '--peer is of --workload=reward, policy and generate'
    if args.peer and (args.abstract or args.turns < 1):
        return '--peer needs arrays and a turn or more'
    return None
