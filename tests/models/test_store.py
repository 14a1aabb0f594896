"""Bases on disk: what is written is read, what is damaged is said."""

import dataclasses
import errno
import json
import os
import pathlib
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl.data import tokenizers
from perl.models import base_file, decoder, store
from perl.rollout import sampler
from perl.rollout.choosing import Sampling
from perl.system.errors import UserError


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('tied', [False, True])
def test_a_base_comes_back(tmp_path, tied, dtype):
    arch = tiny.arch(tied=tied, rope_layout='pairs')
    params = tiny.weights(arch, dtype=dtype)
    store.save(tmp_path / 'base', arch, params)
    got_arch, got = store.load(tmp_path / 'base')
    assert got_arch == arch
    assert jax.tree.structure(got) == jax.tree.structure(params)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(params), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
    assert base_file.fingerprint(got) == base_file.fingerprint(params)


def test_fingerprints_tell_bases_apart():
    params = tiny.weights()
    changed = {**params, 'norm': params['norm'].at[3].add(1e-6)}
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    swapped = {**params, 'norm': params['layers']['mlp']['norm'][0]}
    prints = [base_file.fingerprint(p) for p in (params, changed, half, swapped)]
    assert len(set(prints)) == 4
    assert base_file.fingerprint(jax.tree.map(np.asarray, params)) == prints[0]
    assert all(len(p) == 16 and int(p, 16) for p in prints)


def test_changed_keeps_the_weights_and_runs_them_otherwise():
    arch = store.changed(tiny.ARCH, scan=True, dtype='bfloat16')
    assert arch == dataclasses.replace(tiny.ARCH, scan=True, dtype='bfloat16')


def test_weights_that_lie_otherwise_in_memory_come_back(tmp_path):
    """As from files of `[out, in]`, whose layers are turned and then stacked."""
    arch, params = tiny.arch(), jax.tree.map(np.asarray, tiny.weights())

    def turned(x):
        return np.stack([layer.T for layer in np.stack([y.T for y in x])])

    lying = jax.tree.map(lambda x: x.T.copy().T, params)
    lying['layers'] = jax.tree.map(turned, params['layers'])
    assert any(not x.flags.c_contiguous for x in jax.tree.leaves(lying))
    store.save(tmp_path, arch, lying)
    tiny.close(store.load(tmp_path)[1], params, 0)


@pytest.fixture
def saved(tmp_path):
    store.save(tmp_path, tiny.ARCH, tiny.weights())
    return tmp_path


def card_of(folder):
    """What `model.json` says, as a person would write it: without a checksum."""
    card = json.loads((folder / 'model.json').read_text())
    del card['checksum']
    return card


@pytest.mark.parametrize('lost', ['model.json', 'model.safetensors'])
def test_a_missing_file_is_named(saved, lost):
    (saved / lost).unlink()
    with pytest.raises(UserError, match=rf'model\.path: .*{lost} is not there'):
        store.load(saved)


def flip(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_the_weights_have_a_checksum(saved):
    flip(saved / 'model.safetensors')
    with pytest.raises(UserError, match=r'is damaged .*sha256 of model\.safetensors'):
        store.load(saved)


def test_a_base_of_old_has_no_checksum(saved):
    card = card_of(saved)
    del card['sha256']
    (saved / 'model.json').write_text(json.dumps(card))
    flip(saved / 'model.safetensors')
    assert store.load(saved)[0] == tiny.ARCH


@pytest.mark.parametrize('name', ['model.json', 'model.safetensors', 'model.bin'])
@pytest.mark.parametrize('number', [errno.EACCES, errno.EIO])
def test_what_cannot_be_read_is_not_called_missing(saved, monkeypatch, name, number):
    (saved / 'model.bin').touch()
    opened = pathlib.Path.open

    def refuse(path, *args, **kwargs):
        if path == saved / name:
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, 'open', refuse)
    said = f'model.path: {saved / name} cannot be read: {os.strerror(number)}; '
    with pytest.raises(UserError, match=said):
        store.load(saved / name if name == 'model.bin' else saved)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_numbers_that_are_not_finite(tmp_path, bad):
    params = tiny.weights()
    params['embed'] = params['embed'].at[3, 2].set(bad)
    store.save(tmp_path, tiny.ARCH, params)
    with pytest.raises(UserError, match='1 of 512 numbers in embed are NaN or inf'):
        store.load(tmp_path)


def test_a_llama2c_file_with_nan(tmp_path):
    llama2c(tmp_path / 'model.bin', True)
    data = (tmp_path / 'model.bin').read_bytes()
    nan = struct.pack('f', np.nan)
    (tmp_path / 'model.bin').write_bytes(data[:28] + nan + data[32:])
    with pytest.raises(UserError, match=r'model\.bin is damaged \(1 of 512 numb'):
        store.load(tmp_path / 'model.bin')


@pytest.mark.parametrize('dtype', ['int8', 'float8_e4m3fn', 'bool'])
def test_weights_of_another_kind_of_number(saved, dtype):
    params = jax.tree.map(lambda x: x.astype(dtype), tiny.weights())
    store.save(saved, tiny.ARCH, params)
    with pytest.raises(UserError, match=f'model.path: .*{dtype}'):
        store.load(saved)


def test_a_path_that_is_not_there(tmp_path):
    for name in ('nowhere', 'nothing.bin'):
        with pytest.raises(UserError, match=f'{name}.* is not there'):
            store.load(tmp_path / name)


def test_a_checkpoint_of_hugging_face_is_named(tmp_path):
    (tmp_path / 'config.json').write_text('{"model_type": "qwen2"}')
    with pytest.raises(UserError, match='a qwen2 checkpoint of Hugging Face, which is'):
        store.load(tmp_path)


@pytest.mark.parametrize('file', ['model.json', 'model.safetensors'])
@pytest.mark.parametrize('keep', [0, 9, 200])
def test_a_cut_file_is_damaged(saved, file, keep):
    (saved / file).write_bytes((saved / file).read_bytes()[:keep])
    with pytest.raises(UserError, match=r'model\.path: .* is damaged'):
        store.load(saved)


@pytest.mark.parametrize(
    'change, says',
    [
        (
            {'width': 32},
            r'embed has shape \(32, 16\), .* wants \(32, 32\)',
        ),
        ({'layers': 3}, r'layers/attention/k has shape \(2, 16, 2, 4\)'),
        ({'tied': True}, 'unembed has shape .*, the architecture wants None'),
    ],
)
def test_weights_of_another_architecture(saved, change, says):
    said = card_of(saved)
    (saved / 'model.json').write_text(json.dumps({**said, **change}))
    with pytest.raises(UserError, match=says):
        store.load(saved)


def test_an_unknown_field_of_the_architecture(saved):
    said = card_of(saved)
    (saved / 'model.json').write_text(json.dumps({**said, 'colour': 'red'}))
    with pytest.raises(UserError, match='colour'):
        store.load(saved)


def llama2c(path, tied):
    """A llama2.c file of the tiny decoder, written by hand."""
    arch = tiny.arch(tied=tied, rope_layout='pairs')
    params = jax.tree.map(np.asarray, tiny.weights(arch))
    D, F, L, H, K, N = 16, 24, 2, 4, 2, 4
    attention, mlp = params['layers']['attention'], params['layers']['mlp']

    def matrices(kernel, inputs):
        return [kernel[i].reshape(inputs, -1).T for i in range(L)]

    parts = [params['embed'], attention['norm']]
    for name in 'qkvo':
        parts += matrices(attention[name], H * N if name == 'o' else D)
    parts += [mlp['norm'], *matrices(mlp['gate'], D), *matrices(mlp['down'], F)]
    parts += [*matrices(mlp['up'], D), params['norm']]
    parts += [np.zeros((2, arch.max_length, N // 2))]
    if not tied:
        parts += [params['unembed'].T]
    signed = 32 if tied else -32  # the sign says that the unembedding is its own
    head = struct.pack('7i', D, F, L, H, K, signed, arch.max_length)
    body = b''.join(np.ascontiguousarray(p, np.float32).tobytes() for p in parts)
    path.write_bytes(head + body)
    return arch, params


@pytest.mark.parametrize('tied', [False, True])
def test_a_llama2c_file_is_read(tmp_path, tied):
    arch, params = llama2c(tmp_path / 'model.bin', tied)
    got_arch, got = store.load(tmp_path / 'model.bin')
    assert store.changed(got_arch, scan=False) == arch
    tiny.close(got, params, 0)


def test_a_cut_llama2c_file(tmp_path):
    llama2c(tmp_path / 'model.bin', True)
    content = (tmp_path / 'model.bin').read_bytes()
    (tmp_path / 'model.bin').write_bytes(content[:5000])
    with pytest.raises(UserError, match='ends before its weights do'):
        store.load(tmp_path / 'model.bin')
    (tmp_path / 'model.bin').write_bytes(content[:20])
    with pytest.raises(UserError, match='too short'):
        store.load(tmp_path / 'model.bin')


def test_stories260k_tells_its_story_to_the_letter(shared):
    folder = shared / 'data' / 'stories260K'
    if not (folder / 'stories260K.bin').is_file():
        pytest.skip('stories260K is not there')
    arch, params = store.load(folder / 'stories260K.bin')
    words = tokenizers.load(folder / 'tok512.bin')
    _, _, rest = (folder / 'stories260K.md').read_text().partition('-t 0.0\n')
    story, _, _ = rest.partition('\n```')
    prompt, length = jnp.array([[words.bos]]), jnp.array([1])
    sampling = Sampling(max_tokens=256, eos=None, temperature=0.0)
    play = jax.jit(sampler.sample, static_argnums=(0, 5))
    said = play(arch, params, prompt, length, jax.random.key(0), sampling)
    assert words.decode([words.bos, *np.asarray(said.tokens[0]).tolist()]) == story


def test_stories260k_continues_a_text_without_a_second_space(shared):
    folder = shared / 'data' / 'stories260K'
    if not (folder / 'stories260K.bin').is_file():
        pytest.skip('stories260K is not there')
    arch, params = store.load(folder / 'stories260K.bin')
    words = tokenizers.load(folder / 'tok512.bin')
    prompt, response = 'Once upon a time, there was a little', ' girl named Lily.'

    def nats(start):
        record = words.encode(response, start)
        ids = np.array([[words.bos, *words.encode(prompt, start=True), *record]])
        states = decoder.hidden(arch, params, ids, np.arange(ids.size)[None])
        log_probs = jax.nn.log_softmax(decoder.unembed(arch, params, states)[0])
        places = range(ids.size - len(record), ids.size)
        return -sum(float(log_probs[i - 1, ids[0, i]]) for i in places)

    assert nats(False) < 1 and nats(True) > 20


@pytest.mark.parametrize(
    'changes', [{'kv_heads': 0}, {'width': '16'}, {'width': -16}, {'layers': 2.0}]
)
def test_an_architecture_that_is_none(saved, changes):
    said = card_of(saved)
    (saved / 'model.json').write_text(json.dumps({**said, **changes}))
    name = next(iter(changes))
    with pytest.raises(UserError, match=rf'model\.json: model\.{name}: .* whole'):
        store.load(saved)


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('rope_theta', 'x'),
        ('rope_theta', None),
        ('norm_eps', [1e-5]),
        ('norm_eps', True),
        ('tied', 'no'),
        ('scan', 1),
        ('width', True),
        ('dtype', 16),
        ('dtype', ['float32']),
        ('rope_theta', 10**400),
        ('rope_theta', float('nan')),
    ],
)
def test_a_field_of_another_type(saved, field, value):
    card = card_of(saved)
    (saved / 'model.json').write_text(json.dumps({**card, field: value}))
    with pytest.raises(UserError, match=rf'model\.json.*{field}'):
        store.load(saved)


def test_a_number_of_the_architecture_that_was_changed(saved):
    file = saved / 'model.json'
    file.write_text(file.read_text().replace('"norm_eps": 1e-05', '"norm_eps": 9e-05'))
    with pytest.raises(UserError, match=r'model\.json does not fit its own checksum'):
        store.load(saved)
    file.write_text(json.dumps(card_of(saved)))  # changed on purpose
    assert store.load(saved)[0].norm_eps == 9e-05


@pytest.mark.parametrize('said', [b'\xff\xfe{}', b'[]', b'3', b'{"a":' * 9999])
def test_a_description_that_is_none(saved, said):
    (saved / 'model.json').write_bytes(said)
    with pytest.raises(UserError, match='is damaged'):
        store.load(saved)


@pytest.mark.parametrize(
    'spoil',
    [
        lambda x: x[:-3],
        lambda x: x + bytes(4),
        lambda x: struct.pack('i', 0) + x[4:],
        lambda x: struct.pack('i', -64) + x[4:],  # a negative width
        lambda x: b'ak42' + x[4:],
    ],
)
def test_what_is_no_llama2c_file_of_version_0(tmp_path, spoil):
    file = tmp_path / 'model.bin'
    llama2c(file, True)
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(UserError, match=f'{file} .*version 0'):
        store.load(file)
