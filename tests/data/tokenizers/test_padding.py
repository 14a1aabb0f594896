"""The token that a classifier of transformers is padded with."""

import dataclasses
import json

import pytest

from perl.data.tokenizers import padding
from perl.data.tokenizers.vocabularies import Bytes


@pytest.mark.parametrize(
    ('ids', 'want'),
    [((0, 1, 2), 0), ((2, 1, 2), 1), ((2, 2, 2), None)],
    ids=['its own', 'bos', 'none'],
)
def test_the_token_is_never_eos(ids, want):
    pad, bos, eos = ids
    tokenizer = dataclasses.replace(Bytes(), pad=pad, bos=bos, eos=eos)
    assert padding.of_classifier(tokenizer) == want


FILES = {
    'tokenizer.json': {'added_tokens': [{'id': 7, 'content': '<s>'}]},
    'tokenizer_config.json': {'pad_token': '</s>', 'eos_token': '</s>'},
    'special_tokens_map.json': {'pad_token': '</s>'},
    'merges.txt': 'a b',
}


def test_all_files_name_it():
    files = {name: json.dumps(x).encode() for name, x in FILES.items()}
    made = padding.padded_with(files, 7)
    assert made.keys() == files.keys()
    for name in ('tokenizer_config.json', 'special_tokens_map.json'):
        assert json.loads(made[name]) == {**FILES[name], 'pad_token': '<s>'}
    for name in ('tokenizer.json', 'merges.txt'):
        assert made[name] == files[name]


def test_a_token_without_a_name_changes_nothing():
    files = {name: json.dumps(x).encode() for name, x in FILES.items()}
    assert padding.padded_with(files, 8) == files


def test_bos_of_a_config_alone():
    files = {'tokenizer_config.json': b'{"bos_token": {"content": "<s>"}}'}
    made = padding.padded_with(files, 1)
    assert json.loads(made['tokenizer_config.json'])['pad_token'] == '<s>'
