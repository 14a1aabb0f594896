"""Reward training on comparisons: seconds a step, pairs a second and memory."""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import target
from benchmarks.shape import arrays_or_shapes, experiment, model
from perl import sharding
from perl.data import batching
from perl.data.examples import Examples
from perl.models import frozen_base, heads
from perl.stages import reward as stage


def measure(args: argparse.Namespace) -> dict:
    """Reward training on comparisons: seconds a step and pairs a second.

    `--shared=P` makes the first P tokens of both completions their common prompt,
    which is encoded once.
    """
    arch, base, delta = model(args)
    plan = stage.plan(arch, experiment(args), 'reward')
    update = plan.update()
    batch = arrays_or_shapes(args, lambda: comparisons(args))
    if args.abstract:
        mesh = target.mesh(args)
        state, frozen, _ = plan.abstract(mesh)
        with jax.set_mesh(mesh):
            step = update.lower(state, frozen, sharding.on_paper(batch, mesh))
        memory = target.account(plan, {'update': step}, mesh)
        return {**memory, 'trainable': plan.parameter_count()}
    head = heads.init_head(jax.random.key(3), arch.width)
    state = plan.init({**delta, heads.HEAD: head})
    mesh = sharding.make_mesh(data=args.devices)
    base = {} if args.tuning == 'full' else frozen_base.place(arch, base, mesh)
    state = jax.device_put(state, sharding.replicated(mesh))
    batch = sharding.shard_batch(batch, mesh)
    times = []
    with jax.set_mesh(mesh):
        for _ in range(args.warmup + args.steps):
            began = time.perf_counter()
            state, metrics = update(state, base, batch)
            jax.block_until_ready(metrics)
            times.append(time.perf_counter() - began)
    seconds = statistics.median(times[args.warmup :])
    return {
        'seconds_per_step': round(seconds, 4),
        'pairs_per_s': round(args.pairs / seconds, 2),
        'step_mb': round(update.peak_bytes / 2**20),
        'trainable': plan.parameter_count(),
        'first_step_s': round(times[0], 2),
    }


def comparisons(args: argparse.Namespace) -> dict[str, jax.Array]:
    """A batch of `--pairs` comparisons of random tokens, as `perl.stages.reward` takes
    it."""
    rng = np.random.default_rng(0)
    shared = args.shared or 1

    def draw(n):
        return rng.integers(10, args.vocab, n).astype(np.int32)

    data = Examples(
        [draw(shared) for _ in range(args.pairs)],
        [tuple(draw(args.seq - shared) for _ in 'ab') for _ in range(args.pairs)],
        np.ones(args.pairs, np.float32),
    )
    layout = 'shared' if args.shared else 'apart'
    batch = batching.collate(data, range(args.pairs), layout, multiple=16)
    labels = batch.pop('labels')
    batch = {k: x.reshape(args.pairs, -1, *x.shape[1:]) for k, x in batch.items()}
    return jax.tree.map(jnp.asarray, {**batch, 'labels': labels})
