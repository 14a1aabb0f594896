"""DPO on comparisons: seconds a step, pairs a second and memory."""

import argparse

import jax
import jax.numpy as jnp

from benchmarks import reward
from benchmarks.shape import arrays_or_shapes, experiment, model, shares
from perl import sharding
from perl.adapters.network import Network
from perl.data import by_example
from perl.models import frozen_base
from perl.stages import dpo as stage
from perl.stages.frozen import Frozen


def measure(args: argparse.Namespace) -> dict:
    """DPO with the base as the reference: seconds a step and pairs a second."""
    arch, base, delta = model(args)
    plan = stage.plan(arch, experiment(args), 'dpo')
    batch = arrays_or_shapes(args, lambda: comparisons(args))
    if args.abstract:
        return reward.on_paper(args, plan, batch)
    mesh = sharding.make_mesh(data=args.devices)
    base = frozen_base.place(arch, base, mesh)
    own = {} if args.tuning == 'full' else base
    frozen = Frozen(policy=own, reference=Network(base, {}))
    return reward.timed(args, plan, plan.init(delta), frozen, batch, mesh)


def comparisons(args: argparse.Namespace) -> dict[str, jax.Array]:
    """A batch of `--pairs` comparisons of random tokens, as `perl.stages.dpo` takes
    it."""
    data = reward.examples(args)
    batch = by_example.comparisons(shares(args), data, range(args.pairs), multiple=16)
    return jax.tree.map(jnp.asarray, batch)
