"""Sampling with a cache: new tokens a second."""

import argparse
import statistics
import time

import jax
import numpy as np

from benchmarks.shape import model
from perl import sharding
from perl.adapters import tree
from perl.models import frozen_base
from perl.rollout import sampler
from perl.rollout.choosing import Sampling


def measure(args: argparse.Namespace) -> dict:
    """Sampling with a cache, the prompt pass included: new tokens a second."""
    arch, base, delta = model(args)
    delta = {} if not args.rank else delta
    sampling = Sampling(args.new, None, args.temperature)

    @jax.jit
    def play(base, delta, prompts, lengths, key):
        params = tree.bind(base, delta)
        return sampler.sample(arch, params, prompts, lengths, key, sampling)

    rng = np.random.default_rng(0)
    mesh = sharding.make_mesh(data=args.devices)
    base = frozen_base.place(arch, base, mesh)
    delta = jax.device_put(delta, sharding.replicated(mesh))
    lengths = np.full(args.batch, args.prompt, np.int32)
    times = []
    with jax.set_mesh(mesh):
        for i in range(args.warmup + args.calls):
            prompts = rng.integers(10, args.vocab - 2, (args.batch, args.prompt))
            began = time.perf_counter()
            rows = sharding.shard_batch((prompts.astype(np.int32), lengths), mesh)
            out = play(base, delta, *rows, jax.random.key(i))
            jax.block_until_ready(out)
            times.append(time.perf_counter() - began)
    seconds, n = statistics.median(times[args.warmup :]), args.batch * args.new
    return {
        'seconds_per_call': round(seconds, 4),
        'tokens_per_s': round(n / seconds, 1),
        'best_tokens_per_s': round(n / min(times[args.warmup :]), 1),
        'first_call_s': round(times[0], 2),
    }
