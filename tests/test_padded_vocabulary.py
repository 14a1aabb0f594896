"""A base with more rows than its tokenizer has pieces, from the check to a policy."""

import dataclasses
import json

import jax.numpy as jnp
import pytest
import runs
from commands import launch

from perl.data import tokenizers
from perl.models import store

PADDING = 28


@pytest.fixture(scope='module')
def padded(finished, tmp_path_factory):
    """The base of a small run with rows behind its vocabulary, of large logits."""
    arch, params = store.load(finished / 'pretrain' / 'base')
    rows = 3 * params['embed'][:PADDING]
    params = {**params, 'embed': jnp.concatenate([params['embed'], rows])}
    arch = dataclasses.replace(arch, vocabulary=arch.vocabulary + PADDING)
    folder = tmp_path_factory.mktemp('padded')
    store.save(folder, arch, params)
    tokenizers.load(finished / 'tokenizer').save(folder / 'tokenizer')
    return folder


def config(padded, **changes):
    return runs.config(
        **{
            'model.path': str(padded),
            'tokenizer.kind': 'file',
            'tokenizer.path': str(padded / 'tokenizer'),
            'stages': ('reward', 'policy'),
            'reward.start': 'base',
            'policy.start': 'base',
            'policy.value_start': 'base',
            'policy.steps': 2,
            'reward.steps': 2,
            **changes,
        }
    )


def test_no_row_without_a_piece_is_drawn(padded, tmp_path):
    """A policy trains, and its samples are text: an id without a piece has none."""
    figures = runs.run(config(padded), tmp_path)
    assert figures['policy']['steps'] == 2
    samples = (tmp_path / 'policy' / 'samples.jsonl').read_text().splitlines()
    assert any(json.loads(line)['response'] for line in samples)


def test_the_check_counts_them(padded, tmp_path):
    stages = '--config.stages=("reward","policy")'
    names = ('reward.start', 'policy.start', 'policy.value_start')
    flags = [f'--config.{name}=base' for name in names]
    paths = {'model.path': padded, 'tokenizer.path': padded / 'tokenizer'}
    flags += [f'--config.{name}={path}' for name, path in paths.items()]
    ended = launch(
        tmp_path / 'run', stages, '--config.tokenizer.kind=file', *flags, '--check'
    )
    assert ended.code == 0, ended
    assert f'{PADDING} rows are padding' in ended.out
