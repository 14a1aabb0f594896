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
from perl.rollout import choosing, refill
from perl.rollout.choosing import Sampling


def measure(args: argparse.Namespace) -> dict:
    """Sampling with a cache, the prompt pass included: new tokens a second.

    With more responses than `--batch`, these are the figures of refilled slots; those
    of batches that wait for their longest response are measured in turns with them.
    """
    shape = args.prompts or args.batch // args.samples, args.prompt
    total = shape[0] * args.samples
    sizes = {'': total, 'waiting_': args.batch} if total > args.batch else {'': total}
    play, rng = _player(args), np.random.default_rng(0)
    times, counts = {name: [] for name in sizes}, []
    for i in range(args.warmup + args.calls):
        prompts = rng.integers(10, args.vocab - 2, shape).astype(np.int32)
        for name, size in sizes.items():
            began = time.perf_counter(), time.process_time()
            counts.append(sum(play(prompts, i, size)))
            ended = time.perf_counter(), time.process_time()
            times[name].append(np.subtract(ended, began))
    figures, tokens = {}, float(np.mean(counts))
    for name, rows in times.items():
        seconds, cpu = zip(*rows[args.warmup :], strict=True)
        median = statistics.median(seconds)
        figures |= {
            f'{name}seconds_per_call': round(median, 4),
            f'{name}cpu_s_per_call': round(statistics.median(cpu), 3),
            f'{name}tokens_per_s': round(tokens / median, 1),
            f'{name}best_tokens_per_s': round(tokens / min(seconds), 1),
            f'{name}first_call_s': round(rows[0][0], 2),
        }
    return {**figures, 'tokens_per_response': round(tokens / total, 1)}


def _player(args):
    """A function of prompts `[B, P]`, a seed and how many responses a call samples; it
    yields the tokens of each call."""
    arch, base, delta = model(args)
    mesh = sharding.make_mesh(data=args.devices)
    base = frozen_base.place(arch, base, mesh)
    delta = jax.device_put({} if not args.rank else delta, sharding.replicated(mesh))
    # random weights give every token about the same chance
    eos = tuple(range(0, args.vocab, args.mean)) if args.mean else None
    sampling = Sampling(args.new, eos, args.temperature)

    @jax.jit
    def sampled(base, delta, prompts, lengths, keys):
        rows = tree.bind(base, delta), prompts, lengths, keys, sampling
        return refill.sample(arch, *rows, args.batch, args.samples).lengths.sum()

    def play(prompts, seed, size):
        lengths = np.full(len(prompts), args.prompt, np.int32)
        keys = choosing.keys_of(jax.random.key(seed), len(prompts) * args.samples)
        few = size // args.samples
        with jax.set_mesh(mesh):
            for at in range(0, len(prompts), few):
                rows = prompts[at : at + few], lengths[at : at + few]
                rows = sharding.shard_batch(rows, mesh)
                own = keys[at * args.samples :][:size]
                yield int(sampled(base, delta, *rows, own))

    return play
