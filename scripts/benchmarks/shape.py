"""The model and the config that the flags of a benchmark describe."""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from perl import config as configs
from perl.models import architecture
from perl.weights import Leaf, flatten, unflatten


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


def architecture_of(args: argparse.Namespace) -> architecture.Architecture:
    """The decoder."""
    kind = configs.tuning(configs.tuning_config(args.tuning, max(args.rank, 1)))
    stored = args.quantization if args.quantization != 'none' else kind.quantization
    return architecture.Architecture(
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


def model(args: argparse.Namespace) -> tuple[architecture.Architecture, Any, Any]:
    """Architecture, base and delta; abstract if the flags say so."""
    arch = architecture_of(args)
    kind = configs.tuning(configs.tuning_config(args.tuning, max(args.rank, 1)))
    leaves = architecture.parameters(arch)
    base = arrays_or_shapes(args, lambda: random_base(arch))
    delta = arrays_or_shapes(
        args, lambda b: kind.init(jax.random.key(1), b, leaves), base
    )
    return arch, base, delta


def random_base(arch: architecture.Architecture) -> dict[str, Any]:
    """Parameters as `architecture.init` draws them, in the dtype of the base, on the
    device: one layer after the other, so that a large kernel needs the memory of its
    random bits for one layer at a time."""
    leaves = flatten(architecture.parameters(arch))
    keys = jax.random.split(jax.random.key(0), len(leaves))
    return unflatten(
        {
            path: drawn(leaf, arch.base_dtype)(key)
            for (path, leaf), key in zip(leaves.items(), keys, strict=True)
        }
    )


def drawn(leaf: Leaf, dtype: str) -> Any:
    """The jitted function of a random key to the numbers of a parameter."""

    def draw(key):
        if leaf.std is None:
            return jnp.ones(leaf.shape, dtype)
        if not leaf.layered:
            return leaf.std * jax.random.normal(key, leaf.shape, dtype)
        return jax.lax.map(
            lambda key: leaf.std * jax.random.normal(key, leaf.shape[1:], dtype),
            jax.random.split(key, leaf.shape[0]),
        )

    return jax.jit(draw)


def arrays_or_shapes(
    args: argparse.Namespace, function: Callable[..., Any], *inputs: Any
) -> Any:
    """The function's result, or only its shapes."""
    if not args.abstract:
        return function(*inputs)
    return jax.eval_shape(function, *inputs)
