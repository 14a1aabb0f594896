"""Samples pairs of a policy's responses, for a judge to compare."""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax

from perl.config import ranges
from perl.data.ordering import slices
from perl.data.records import Comparison
from perl.evaluation import responses
from perl.rollout.choosing import Sampling
from perl.rollout.responses import decode
from perl.runs.roles import Role, identity
from perl.runs.run import Run
from perl.system import jsonl
from perl.system.errors import UserError

_FIELDS = ('prompt', 'first', 'second')


def sample_pairs(
    run: Run,
    role: Role,
    prompts: Sequence[str],
    sampling: Sampling,
    file: pathlib.Path,
    seed: int = 0,
) -> list[Comparison]:
    """Samples two responses of a policy to each of n prompts; they have no label yet.

    A pair is a pure function of the seed, its batch and the policy. Each batch is
    written to the disk before the next one, and a pair in the file is not sampled
    again.

    Args:
        run: a run with tokenizer, architecture and mesh.
        role: the policy.
        prompts: the prompts; a long prompt loses its beginning.
        sampling: how tokens are chosen.
        file: the file that stores the pairs, as lines of JSON.
        seed: seed of the samples.

    Raises:
        UserError: the file has pairs that were sampled with other settings.
    """
    ranges.within('seed', seed, ranges.SEED)
    size = run.config.evaluation.batch_size
    settings = {
        'policy': identity(role),
        'seed': seed,
        'batch': size,
        **dataclasses.asdict(sampling),
    }
    rows = _resume(file, settings, size, prompts)
    for number, (places, new) in enumerate(slices(len(prompts), size)):
        if number * size >= len(rows):
            key = jax.random.fold_in(jax.random.key(seed), number)
            batch = [prompts[i] for i in places]
            texts = zip(batch, *_two(run, role, batch, sampling, key), strict=True)
            pairs = [dict(zip(_FIELDS, row, strict=True)) for row in texts][:new]
            jsonl.append(file, pairs)
            rows += pairs
    groups = run.dataset.prompt_groups
    return [
        Comparison(
            prompt,  # that of a file has no messages
            (row['first'], row['second']),
            group=groups.get(prompt, ''),
        )
        for prompt, row in zip(prompts, rows, strict=False)
    ]


def _resume(file, settings, size, prompts):
    """The pairs of complete batches in a file; starts the file if it has none."""
    jsonl.mend(file)
    rows = jsonl.rows(file)
    if rows:
        lines = jsonl.differences(rows[0], jsonl.plain(settings))
        pairs = rows[1 : 1 + len(prompts)]
        if [row.get('prompt') for row in pairs] != list(prompts[: len(pairs)]):
            lines.append('other prompts')
        if any(not isinstance(row.get(x), str) for row in pairs for x in _FIELDS):
            lines.append('a line without first or second')
        if lines:
            raise UserError(
                f'{file}: was sampled with other settings ({"; ".join(lines)}); give '
                'the old values or another --output'
            )
        if len(pairs) == len(prompts):
            return pairs
    complete = rows[1 : 1 + max(0, len(rows) - 1) // size * size]
    file.parent.mkdir(parents=True, exist_ok=True)
    jsonl.save_rows(file, [settings, *complete])
    return complete


def _two(run, role, prompts, sampling, key):
    """Two responses to each prompt, as two lists."""
    ids, multiple = run.encoded(prompts).prompts, run.prompt_multiple
    sampled = responses.sample(run, role.bound(), ids, sampling, key, 2, multiple)
    texts = decode(run.tokenizer, sampled, [x for x in prompts for _ in range(2)])
    return texts[::2], texts[1::2]
