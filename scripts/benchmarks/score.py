"""Rewards of several responses to a prompt: seconds a pass, responses a second."""

import argparse
import statistics

import jax
import jax.numpy as jnp

from benchmarks import clock, reward
from benchmarks.shape import model, shares
from perl import sharding
from perl.data import by_example
from perl.evaluation import reward_scores
from perl.judges import panel
from perl.models import frozen_base, heads
from perl.runs.roles import Role


def measure(args: argparse.Namespace) -> dict:
    """A reward model on `--samples` responses to each of `--pairs` prompts."""
    arch, base, delta = model(args)
    mesh = sharding.make_mesh(data=args.devices)
    head = heads.init_head(jax.random.key(3), arch.width)
    if args.tuning == 'full':
        base, delta = {}, jax.device_put(delta, sharding.replicated(mesh))
    else:
        base = frozen_base.place(arch, base, mesh)
    members = panel.build([Role(base, '', {**delta, heads.HEAD: head}, None)])
    data = reward.examples(args, args.samples)
    batch = by_example.collate(shares(args), data, range(args.pairs), multiple=16)
    names = ('tokens', 'positions', 'segments', 'ends')
    batch = jax.tree.map(jnp.asarray, {name: batch[name] for name in names})
    batch = sharding.shard_batch(batch, mesh)

    def call(_):
        return reward_scores.compiled(arch)(members, batch)

    with jax.set_mesh(mesh):
        times, where = clock.timed(args, call, args.warmup + args.calls)
    seconds = statistics.median(times[args.warmup :])
    return {
        'seconds_per_pass': round(seconds, 4),
        'responses_per_s': round(args.pairs * args.samples / seconds, 2),
        'first_pass_s': round(times[0], 2),
        **where,
    }
