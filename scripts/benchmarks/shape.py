"""The model and the config that the flags of a benchmark describe."""

import argparse
from collections.abc import Callable
from typing import Any

import jax
from ml_collections import ConfigDict

from perl import config as configs
from perl.models import architecture


def experiment(args: argparse.Namespace) -> ConfigDict:
    """The config of the stages that are timed."""
    config = configs.experiment('benchmark')
    config.lengths.update(prompt=args.prompt, response=args.response)
    tuning = configs.tuning_config(args.tuning, max(args.rank, 1))
    step = {
        'tuning': tuning,
        'optimizer': configs.optimizer_config(
            1e-4, schedule='constant', warmup=0, clip=0
        ),
        'batch_size': args.pairs,
        'share_prompts': shares(args),
    }
    config.reward = configs.stage_config('reward', 1e-4, **step)
    config.dpo = configs.dpo_config(1e-4, **{**step, 'start': 'base'})
    config.policy = configs.policy_config(
        1e-5,
        tuning=tuning,
        start='base',
        value_start='base',
        # an algorithm without a critic where a prompt has several responses
        algorithm='ppo' if args.samples == 1 else 'rloo',
        samples=args.samples,
        batch_size=args.batch,
        epochs=args.epochs,
        minibatches=args.minibatches,
        temperature=0.7,
    )
    config.stages = ('policy',)
    return config


def shares(args: argparse.Namespace) -> str:
    """Whether completions are in one row with their common prompt."""
    return 'always' if args.shared and not args.apart else 'never'


def model(args: argparse.Namespace) -> tuple[architecture.Architecture, Any, Any]:
    """Architecture, base and delta; abstract if the flags say so."""
    kind = configs.tuning(configs.tuning_config(args.tuning, max(args.rank, 1)))
    stored = args.quantization if args.quantization != 'none' else kind.quantization
    arch = architecture.Architecture(
        vocabulary=args.vocab,
        width=args.d,
        layers=args.layers,
        heads=args.heads,
        kv_heads=args.kv_heads or args.heads,
        head_width=args.d // args.heads,
        hidden=args.ff,
        max_length=max(4096, args.seq),
        dtype=args.dtype,
        precision=args.precision,
        quantization=stored or 'none',
        attention=args.attention,
        scan=args.scan,
        remat=args.remat,
    )
    leaves = architecture.parameters(arch)
    base = arrays_or_shapes(
        args, lambda: architecture.init(jax.random.key(0), arch, arch.base_dtype)
    )
    delta = arrays_or_shapes(
        args, lambda b: kind.init(jax.random.key(1), b, leaves), base
    )
    return arch, base, delta


def arrays_or_shapes(
    args: argparse.Namespace, function: Callable[..., Any], *inputs: Any
) -> Any:
    """The function's result, or only its shapes."""
    if not args.abstract:
        return function(*inputs)
    return jax.eval_shape(function, *inputs)
