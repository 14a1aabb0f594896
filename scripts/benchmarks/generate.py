"""Sampling with a cache: new tokens a second."""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import profiles
from benchmarks.shape import model
from perl import sharding
from perl.adapters import tree
from perl.models import frozen_base
from perl.models.architecture import Architecture
from perl.rollout import choosing, refill
from perl.rollout.choosing import Sampling


class Player(NamedTuple):
    """Samples batches of responses.

    Attributes:
        play: of prompts `[B, P]`, a seed, how many responses a call samples, and their
            longest length; yields the tokens of each call.
        weight_bytes: read by a step of decoding.
        cache_bytes: of the keys and values of one token.
    """

    play: Callable[..., Iterator[int]]
    weight_bytes: int
    cache_bytes: int


def measure(args: argparse.Namespace) -> dict:
    """Sampling with a cache, the prompt pass included: new tokens a second.

    With more responses than `--batch`, these are the figures of refilled slots; those
    of batches that wait for their longest response are measured in turns with them.
    Else `decode_...` are the figures without the prompt pass.
    """
    shape = args.prompts or args.batch // args.samples, args.prompt
    total = shape[0] * args.samples
    refilled = total > args.batch
    sizes = {'': total, 'waiting_': args.batch} if refilled else {'': total}
    player, rng = _player(args), np.random.default_rng(0)
    times, counts = {name: [] for name in sizes}, []
    for i in range(args.warmup + args.calls):
        prompts = rng.integers(10, args.vocab - 2, shape).astype(np.int32)
        for name, size in sizes.items():
            spent, tokens = _spent(player, prompts, i, size, args.new)
            times[name].append(spent)
            counts.append(tokens)
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
    figures['tokens_per_response'] = round(tokens / total, 1)
    if not refilled and not args.mean and args.new > 1:
        figures |= _decoding(args, player, prompts, figures['seconds_per_call'])
    if args.profile:
        call = player.play(prompts, i, total, args.new)
        figures['profile'] = profiles.shares(lambda: sum(call))
    return figures


def _spent(player, prompts, seed, size, new):
    """Seconds by the clock and of the processor, and the tokens sampled."""
    began = time.perf_counter(), time.process_time()
    tokens = sum(player.play(prompts, seed, size, new))
    ended = time.perf_counter(), time.process_time()
    return np.subtract(ended, began), tokens


def _decoding(args, player, prompts, seconds):
    """The figures of the steps after the prompt pass, which is timed alone: calls of
    one new token. A step reads all weights once, and the cache up to its token."""
    rows, alone = len(prompts) * args.samples, []
    for i in range(args.warmup + args.calls):
        alone.append(_spent(player, prompts, i, rows, 1)[0][0])
    prompt = statistics.median(alone[args.warmup :])
    step = max(seconds - prompt, 1e-9) / (args.new - 1)
    cached = rows * (args.prompt + args.new / 2) * player.cache_bytes
    size = player.weight_bytes + cached
    return {
        'prompt_s': round(prompt, 4),
        'decode_s_per_step': round(step, 6),
        'decode_tokens_per_s': round(rows / step, 1),
        'bytes_per_token': round(size / rows),
        'gb_per_s': round(size / step / 1e9, 2),
    }


def _player(args):
    arch, base, delta = model(args)
    mesh = sharding.make_mesh(data=args.devices)
    base = frozen_base.place(arch, base, mesh)
    delta = jax.device_put({} if not args.rank else delta, sharding.replicated(mesh))
    # random weights give every token about the same chance
    eos = tuple(range(0, args.vocab, args.mean)) if args.mean else None

    def sampled(base, delta, prompts, lengths, keys, new):
        sampling = Sampling(new, eos, args.temperature)
        rows = tree.bind(base, delta), prompts, lengths, keys, sampling
        return refill.sample(arch, *rows, args.batch, args.samples).lengths.sum()

    sampled = jax.jit(sampled, static_argnames=('new',))

    def play(prompts, seed, size, new):
        lengths = np.full(len(prompts), args.prompt, np.int32)
        keys = choosing.keys_of(jax.random.key(seed), len(prompts) * args.samples)
        few = size // args.samples
        with jax.set_mesh(mesh):
            for at in range(0, len(prompts), few):
                rows = prompts[at : at + few], lengths[at : at + few]
                rows = sharding.shard_batch(rows, mesh)
                own = keys[at * args.samples :][:size]
                yield int(sampled(base, delta, *rows, own, new))

    return Player(play, _weight_bytes(base, delta), _cache_bytes(arch))


def _weight_bytes(base: Any, delta: Any) -> int:
    """Bytes of the arrays that a step of decoding reads whole: all but the embedding,
    of which it reads a few rows."""
    weights = tree.bind(base, delta)
    embed = weights.pop('embed')
    read = weights if 'unembed' in weights else (weights, embed)
    return sum(x.nbytes for x in jax.tree.leaves(read))


def _cache_bytes(arch: Architecture) -> int:
    item = jnp.dtype(arch.dtype).itemsize
    return 2 * arch.layers * arch.kv_heads * arch.head_width * item
