"""Reward training on comparisons: seconds a step, pairs a second and memory."""

import argparse
import statistics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import clock, target
from benchmarks.shape import arrays_or_shapes, experiment, model, shares
from perl import sharding
from perl.data import by_example
from perl.data.examples import Examples
from perl.models import frozen_base, heads
from perl.stages import reward as stage
from perl.training.plan import Plan


def measure(args: argparse.Namespace) -> dict:
    """Reward training on comparisons: seconds a step and pairs a second."""
    arch, base, delta = model(args)
    plan = stage.plan(arch, experiment(args), 'reward')
    batch = arrays_or_shapes(args, lambda: comparisons(args))
    if args.abstract:
        return on_paper(args, plan, batch)
    head = heads.init_head(jax.random.key(3), arch.width)
    state = plan.init({**delta, heads.HEAD: head})
    mesh = sharding.make_mesh(data=args.devices)
    base = {} if args.tuning == 'full' else frozen_base.place(arch, base, mesh)
    return timed(args, plan, state, base, batch, mesh)


def on_paper(args: argparse.Namespace, plan: Plan, batch: Any) -> dict:
    """What a step needs of the memory of a device."""
    mesh = target.mesh(args)
    state, frozen, _ = plan.abstract(mesh)
    with jax.set_mesh(mesh):
        step = plan.update().lower(state, frozen, sharding.on_paper(batch, mesh))
    memory = target.account(plan, {'update': step}, mesh)
    return {**memory, 'trainable': plan.parameter_count()}


def timed(
    args: argparse.Namespace, plan: Plan, state: Any, frozen: Any, batch: Any, mesh: Any
) -> dict:
    """The seconds of the steps of a plan on one batch, and what they need."""
    update, batch = plan.update(), sharding.shard_batch(batch, mesh)
    state = jax.device_put(state, sharding.replicated(mesh))

    def call(_):
        nonlocal state
        state, metrics = update(state, frozen, batch)
        return metrics

    with jax.set_mesh(mesh):
        times, where = clock.timed(args, call, args.warmup + args.steps)
    seconds = statistics.median(times[args.warmup :])
    return {
        'seconds_per_step': round(seconds, 4),
        'pairs_per_s': round(args.pairs / seconds, 2),
        'step_mb': round(update.peak_bytes / 2**20),
        'trainable': plan.parameter_count(),
        'first_step_s': round(times[0], 2),
        **where,
    }


def comparisons(args: argparse.Namespace) -> dict[str, jax.Array]:
    """A batch of `--pairs` comparisons of random tokens, as `perl.stages.reward` takes
    it."""
    batch = by_example.collate(
        shares(args), examples(args), range(args.pairs), multiple=16
    )
    return jax.tree.map(jnp.asarray, batch)


def examples(args: argparse.Namespace, completions: int = 2) -> Examples:
    """`--pairs` prompts of random tokens with as many completions each, rows of `--seq`
    tokens; without `--shared` a prompt is one token."""
    rng = np.random.default_rng(0)
    shared = args.shared or 1

    def draw(n):
        return rng.integers(10, args.vocab, n).astype(np.int32)

    rest = args.seq - shared
    return Examples(
        [draw(shared) for _ in range(args.pairs)],
        [tuple(draw(rest) for _ in range(completions)) for _ in range(args.pairs)],
        np.ones(args.pairs, np.float32),
    )
