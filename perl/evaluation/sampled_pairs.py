"""Pairs of a policy's own responses, for a labeller to say which is better."""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax

from perl import sharding
from perl.data import batching
from perl.data.batching import slices
from perl.data.records import Comparison
from perl.evaluation.compare import decode
from perl.models import store
from perl.rollout import sampler
from perl.rollout.sampler import Sampling
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system import jsonl
from perl.system.errors import UserError

_FIELDS = ('prompt', 'first', 'second')
_play = jax.jit(sampler.sample, static_argnames=('arch', 'sampling'))


def identity(role: Role) -> str:
    """Fingerprints of a role's base and of what was trained on it."""
    leaves = jax.tree_util.tree_leaves_with_path(role.delta)
    delta = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    return f'{role.base_id}+{store.fingerprint(delta)}' if delta else role.base_id


def sample_pairs(
    run: Run,
    role: Role,
    prompts: Sequence[str],
    sampling: Sampling,
    file: pathlib.Path,
    seed: int = 0,
) -> list[Comparison]:
    """Two responses of a policy to each prompt, as yet in no order of worth.

    A pair is a pure function of the seed, its batch and the policy. Each batch is on
    the disk before the next is made, and what is there is not made again.

    Args:
        run: with tokenizer, architecture and mesh.
        role: the policy.
        prompts: a long one loses its beginning.
        sampling: how tokens are chosen.
        file: where the pairs are kept, as lines of JSON.
        seed: of the samples.

    Raises:
        UserError: the file has pairs that were made in another way.
    """
    size = run.config.evaluation.batch_size
    about = {
        'policy': identity(role),
        'seed': seed,
        'batch': size,
        **dataclasses.asdict(sampling),
    }
    made = _begun(file, about, size, prompts)
    for number, (rows, new) in enumerate(slices(len(prompts), size)):
        if number * size >= len(made):
            key = jax.random.fold_in(jax.random.key(seed), number)
            batch = [prompts[i] for i in rows]
            texts = zip(batch, *_two(run, role, batch, sampling, key), strict=True)
            found = [dict(zip(_FIELDS, row, strict=True)) for row in texts][:new]
            jsonl.append(file, found)
            made += found
    return [
        Comparison(row['prompt'], (row['first'], row['second']))
        for row in made[: len(prompts)]
    ]


def _begun(file, about, size, prompts):
    """The pairs of whole batches that a file has; begins it where there is none."""
    jsonl.mend(file)
    rows = jsonl.rows(file)
    if rows:
        lines = jsonl.differences(rows[0], jsonl.plain(about))
        made = rows[1 : 1 + len(prompts)]
        if [row.get('prompt') for row in made] != list(prompts[: len(made)]):
            lines.append('other prompts')
        if lines:
            raise UserError(
                f'{file}: was sampled in another way ({"; ".join(lines)}); give the '
                'old values or another --output'
            )
        if len(made) == len(prompts):
            return made
    whole = rows[1 : 1 + max(0, len(rows) - 1) // size * size]
    file.parent.mkdir(parents=True, exist_ok=True)
    jsonl.save_rows(file, [about, *whole])
    return whole


def _two(run, role, prompts, sampling, key):
    """Two lists of responses."""
    params = role.bound()
    data = run.encoded(prompts)
    batch = batching.left(data.prompts, run.tokenizer.pad, run.prompt_multiple)
    batch = sharding.shard_batch(batch, run.mesh)
    tokens, lengths = batch['tokens'], batch['lengths']
    return [
        decode(
            run.tokenizer,
            _play(run.arch, params, tokens, lengths, k, sampling),
            prompts,
        )
        for k in jax.random.split(key)
    ]
