"""What is saved with an adapter comes back, or it is said why not."""

import dataclasses
import errno
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl import weights
from perl.adapters import bundle
from perl.adapters.bundle import Card
from perl.adapters.tunings import Full, LoraTuning
from perl.system.errors import UserError

MIXED = LoraTuning(
    3, 6.0, True, 0.1, ('layers/attention/q:5', 'layers/mlp/down', 'embed')
)


def deltas():
    return {
        'lora': (tiny.adapter(kind=MIXED), MIXED),
        'lora with a head': ({**tiny.adapter(), 'head': tiny.head()}, tiny.LORA),
        'full with a head': ({**tiny.weights(), 'head': tiny.head()}, Full()),
        'bfloat16': (tiny.weights(dtype=jnp.bfloat16), Full()),
    }


@pytest.mark.parametrize('kind', deltas())
def test_a_bundle_comes_back_whole(tmp_path, kind):
    delta, how = deltas()[kind]
    card = Card('reward', how, 'base1', 'words1', shift=-0.25, scale=1.75)
    bundle.save(tmp_path / 'a' / 'b', delta, card)
    assert bundle.exists(tmp_path / 'a' / 'b') and not bundle.exists(tmp_path)
    got, said = bundle.load(tmp_path / 'a' / 'b', 'base1', 'words1')
    assert said == card
    # the structure holds the scales and dropout rates of all pairs
    assert jax.tree.structure(got) == jax.tree.structure(delta)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(delta), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_arrays_that_lie_otherwise_in_memory_come_back(tmp_path):
    params = jax.tree.map(np.asarray, tiny.weights())
    lying = jax.tree.map(lambda x: x.T.copy().T, params)
    bundle.save(tmp_path, lying, Card('sft', Full(), 'base1', 'words1'))
    tiny.close(bundle.load(tmp_path)[0], params, 0)


def test_what_cannot_be_read_is_not_called_missing(saved, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, 'Permission denied', str(path))

    monkeypatch.setattr(pathlib.Path, 'open', refuse)
    said = rf'{saved / "adapter.json"} cannot be read: Permission denied; let this user'
    with pytest.raises(UserError, match=said):
        bundle.load(saved)


def test_numbers_that_are_not_finite(saved):
    delta = tiny.adapter()
    delta['layers']['attention']['q'] = dataclasses.replace(
        delta['layers']['attention']['q'], b=jnp.full((1,), jnp.nan)
    )
    bundle.save(saved, delta, Card('sft', tiny.LORA, 'base1', 'words1'))
    with pytest.raises(UserError, match='1 of 1 numbers in layers/attention/q/b are'):
        bundle.load(saved)


@pytest.fixture
def saved(tmp_path):
    card = Card('sft', tiny.LORA, 'base1', 'words1')
    bundle.save(tmp_path, tiny.adapter(), card)
    return tmp_path


def test_saving_again_replaces_it(saved):
    other = tiny.adapter(kind=MIXED)
    bundle.save(saved, other, Card('sft', MIXED, 'base1', 'words1'))
    got, _ = bundle.load(saved)
    assert weights.flatten(got).keys() == weights.flatten(other).keys()


@pytest.mark.parametrize(
    'given, says',
    [
        ({'base': 'base2'}, 'on the base base1, this run has base2'),
        ({'tokenizer': 'words2'}, 'on the tokenizer words1, this run has words2'),
    ],
)
def test_of_another_base_or_tokenizer(saved, given, says):
    with pytest.raises(UserError, match=says):
        bundle.load(saved, **given)


@pytest.mark.parametrize('lost', ['adapter.json', 'adapter.safetensors'])
def test_a_missing_file_is_named(saved, lost):
    (saved / lost).unlink()
    with pytest.raises(UserError, match=f'{lost} is not there'):
        bundle.load(saved)


@pytest.mark.parametrize('file', ['adapter.json', 'adapter.safetensors'])
@pytest.mark.parametrize('keep', [0, 7, 0.5, -1])
def test_a_cut_file_is_damaged(saved, file, keep):
    content = (saved / file).read_bytes()
    stop = int(len(content) * keep) if isinstance(keep, float) else keep
    stop = stop - 1 if file.endswith('json') and stop < 0 else stop  # the newline
    (saved / file).write_bytes(content[:stop])
    with pytest.raises(UserError, match='is damaged'):
        bundle.load(saved)


def test_a_flipped_bit_is_damage(saved):
    file = saved / 'adapter.safetensors'
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(UserError, match=r'is damaged .*sha256 of adapter.safetensors'):
        bundle.load(saved)


def card_of(folder):
    """What `adapter.json` says, without its checksum, as an older version wrote it."""
    card = json.loads((folder / 'adapter.json').read_text())
    del card['checksum']
    return card


def test_a_card_of_old_has_no_digest(saved):
    card = card_of(saved)
    del card['sha256']
    (saved / 'adapter.json').write_text(json.dumps(card))
    bundle.load(saved)


@pytest.mark.parametrize(
    'change',
    [
        lambda card: card.pop('adapters'),
        lambda card: card['adapters'].update({'layers/attention/w': {'scale': 1.0}}),
        lambda card: card['tuning'].update(colour='red'),
        lambda card: card.update(colour='red'),
        lambda card: card.pop('role'),
        lambda card: card['tuning'].pop('name'),
        lambda card: card.update(adapters=[]),
        lambda card: card.update(tuning='lora'),
        lambda card: card.update(role=None),
        lambda card: card.update(base=['base1']),
        lambda card: card.update(sha256=7),
        lambda card: card.update(shift='0'),
        lambda card: card.update(shift=float('nan')),
        lambda card: card.update(scale=True),
        lambda card: card.update(scale=0.0),
        lambda card: card.update(scale=10**400),
        lambda card: card['tuning'].update(rank='3'),
        lambda card: card['tuning'].update(rank=10**400),
        lambda card: card['tuning'].update(alpha=[6.0]),
        lambda card: card['tuning'].update(rank_stabilised=0),
        lambda card: card['tuning'].update(targets=None),
        lambda card: card['tuning'].update(targets=[7]),
        lambda card: card['tuning'].update(name=7),
        lambda card: card['adapters'].update({'layers/attention/q': None}),
        lambda card: card['adapters']['layers/attention/q'].update(scale=1e999),
    ],
)
def test_a_card_that_does_not_fit_is_damaged(saved, change):
    card = card_of(saved)
    change(card)
    (saved / 'adapter.json').write_text(json.dumps(card))
    with pytest.raises(UserError, match='is damaged'):
        bundle.load(saved)


@pytest.mark.parametrize(
    ('old', 'new'),
    [('"shift": 0.0', '"shift": 8.0'), ('"rank": 3', '"rank": 7'), ('e1"', 'e3"')],
)
def test_a_changed_digit_of_the_card_is_damage(saved, old, new):
    file = saved / 'adapter.json'
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(UserError, match=r'adapter\.json does not fit its own checksum'):
        bundle.load(saved)
