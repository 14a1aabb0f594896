"""Every family beside transformers: random weights of odd shapes."""

import dataclasses
import functools
import json

import foreign_models
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from perl.models import decoder, heads
from perl.models.families import from_foreign, load, to_foreign
from perl.models.files import open_checkpoint, write_checkpoint
from perl.rollout import sampler

CASES = list(foreign_models.CASES)
# what differs from another case of the family in weights or by what it leaves out: the
# sampler's cache knows nothing of it
WITHOUT_CACHE = (
    *('llama, tied', 'llama, biases', 'mistral, no window', 'gemma2, no caps'),
    'olmo2, biases',
)
LENGTHS = np.array([20, 13, 4])
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 61, (3, 20)).astype(np.int32)


@functools.cache
def read(case):
    """The decoder and its parameters, of the older spelling of the config."""
    config = foreign_models.raw_config(case)
    arch = from_foreign(config)[1]
    source = foreign_models.checkpoint(foreign_models.model_of(case), config)
    return arch, load(source, arch, 'float32')


def ours(case, scan=True):
    arch, params = read(case)
    return dataclasses.replace(arch, scan=scan), params


@functools.partial(jax.jit, static_argnums=0)
def logits(arch, params, tokens, positions, segments=None):
    states = decoder.hidden(arch, params, tokens, positions, segments)
    return decoder.unembed(arch, params, states)


def close(got, want):
    size = max(1.0, float(np.abs(want).max()))
    assert np.std(want) > 0.05
    np.testing.assert_allclose(got, want, atol=1e-5 * max(size, 10.0), rtol=0)


@pytest.mark.parametrize('case', CASES)
def test_logits_of_whole_rows(case):
    """Every other case has unrolled layers; rows with padding have the rest."""
    arch, params = ours(case, scan=CASES.index(case) % 2 == 0)
    positions = np.broadcast_to(np.arange(20), (3, 20))
    want = foreign_models.logits(foreign_models.model_of(case), TOKENS)
    close(logits(arch, params, TOKENS, positions), want)


@pytest.mark.parametrize('case', CASES)
def test_logits_of_rows_with_padding_on_the_left_and_on_the_right(case):
    arch, params = ours(case, scan=CASES.index(case) % 2 == 1)
    model = foreign_models.model_of(case)
    positions, segments = sampler.left_padded(LENGTHS, 20)
    real = np.asarray(segments >= 0)
    want = foreign_models.logits(model, TOKENS, positions, real)
    got = np.asarray(logits(arch, params, TOKENS, positions, segments))
    close(got[real], want[real])
    real = np.arange(20)[None] < LENGTHS[:, None]
    positions = np.broadcast_to(np.arange(20), (3, 20))
    want = foreign_models.logits(model, TOKENS, positions, real)
    segments = np.where(real, 0, -1).astype(np.int32)
    got = np.asarray(logits(arch, params, TOKENS, positions, segments))
    close(got[real], want[real])


play = jax.jit(sampler.sample, static_argnums=(0, 5))


@pytest.mark.parametrize('case', [x for x in CASES if x not in WITHOUT_CACHE])
def test_greedy_texts(case):
    """Our sampler at temperature 0 is `generate` without sampling, with windows that
    end inside the prompt and after it; every other case has unrolled layers."""
    arch, params = ours(case, scan=CASES.index(case) % 2 == 0)
    model, sampling = foreign_models.model_of(case), sampler.Sampling(9, None, 0.0)
    mask = np.asarray(sampler.left_padded(LENGTHS, 20)[1] >= 0)
    got = play(
        arch, params, jnp.asarray(TOKENS), jnp.asarray(LENGTHS), jax.random.key(0),
        sampling,
    )  # fmt: skip
    with torch.no_grad():
        want = model.generate(
            torch.tensor(TOKENS, dtype=torch.int64),
            attention_mask=torch.tensor(mask.astype(np.int64)),
            do_sample=False, max_new_tokens=9, min_new_tokens=9, pad_token_id=0,
        )[:, 20:]  # fmt: skip
    np.testing.assert_array_equal(got.tokens, want.numpy())


def test_greedy_texts_of_a_window_of_one_token():
    """Of whole rows, without the cache of transformers: for a window of one it keeps
    the last `1 - 1` tokens by the slice `[-0:]`, which are all of them, and then its
    logits differ from its own without a cache (seen in 5.23)."""
    raw = foreign_models.raw_config('mistral') | {'sliding_window': 1}
    model = foreign_models.model_of('mistral')
    source = foreign_models.checkpoint(model, raw)
    arch = from_foreign(raw)[1]
    assert arch.windows == (1,)
    params, tokens = load(source, arch, 'float32'), TOKENS[:1, :4]
    found = play(
        arch, params, jnp.asarray(tokens), jnp.array([4]), jax.random.key(0),
        sampler.Sampling(6, None, 0.0),
    ).tokens  # fmt: skip
    kept = model.config.sliding_window
    model.config.sliding_window = 1
    try:
        rows = tokens
        for _ in range(6):
            new = foreign_models.logits(model, rows)[:, -1].argmax(-1)[:, None]
            rows = np.concatenate([rows, new.astype(np.int32)], axis=1)
    finally:
        model.config.sliding_window = kept
    np.testing.assert_array_equal(found, rows[:, 4:])


@pytest.mark.parametrize('case', CASES)
def test_a_round_trip_is_bit_equal(case):
    """To our tree and back, in both spellings of the config, and into transformers."""
    arch, params = ours(case)
    model = foreign_models.model_of(case)
    source = foreign_models.checkpoint(model, foreign_models.raw_config(case))
    back = to_foreign(arch, params)  # of the first family that describes it
    same = to_foreign(arch, params, from_foreign(source.config)[0])
    assert same.tensors.keys() == source.tensors.keys()
    for name, tensor in source.tensors.items():
        got = same.tensors[name].read()
        assert got.shape == same.tensors[name].shape and got.dtype == tensor.dtype
        np.testing.assert_array_equal(got, tensor.read(), err_msg=name)
    newer = json.loads(model.config.to_json_string(use_diff=False))
    for config in (newer, same.config, json.loads(json.dumps(same.config))):
        assert from_foreign(config)[1] == from_foreign(source.config)[1]
    for made in (same, back):
        again = transformers.AutoConfig.for_model(**made.config)
        twin = transformers.AutoModelForCausalLM.from_config(
            again, attn_implementation='eager'
        ).eval()
        names = foreign_models.RENAMED.get(made.config['model_type'], {})
        names = {file: name for name, file in names.items()}
        state = {
            names.get(k, k): torch.tensor(x.read()) for k, x in made.tensors.items()
        }
        if arch.tied:
            embed = twin.get_input_embeddings().weight
            name = next(k for k, x in state.items() if x.shape == embed.shape)
            state['lm_head.weight'] = state[name]
        twin.load_state_dict(state, strict=True)
        want = foreign_models.logits(model, TOKENS)
        np.testing.assert_allclose(foreign_models.logits(twin, TOKENS), want, atol=1e-5)


@pytest.mark.parametrize('case', [c for c in CASES if ',' not in c])
def test_files_of_transformers_and_back(case, tmp_path):
    """Through folders, so that names in files count and not those in memory."""
    model = foreign_models.model_of(case)
    model.save_pretrained(tmp_path / 'theirs', max_shard_size='20KB')
    source = open_checkpoint(tmp_path / 'theirs')
    family, arch = from_foreign(source.config)
    params, whole = load(source, arch, 'float32'), np.arange(20)[None]
    want = foreign_models.logits(model, TOKENS)
    close(logits(arch, params, TOKENS, np.broadcast_to(whole, (3, 20))), want)
    made = to_foreign(arch, params, family)
    write_checkpoint(tmp_path / 'ours', made.config, made.tensors)
    twin, told = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / 'ours', attn_implementation='eager', output_loading_info=True
    )
    assert not (told['missing_keys'] or told['unexpected_keys'])
    got = foreign_models.logits(twin.eval(), TOKENS)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize('case', ['llama', 'qwen2', 'gemma3_text', 'gpt_neox', 'gpt2'])
def test_a_classifier_with_one_label_is_a_reward_model_both_ways(case):
    """Its scores at the last token, and the model that is written again."""
    config = foreign_models.model_of(case).config.to_dict()
    config |= {'num_labels': 1, 'pad_token_id': 0}
    config = transformers.AutoConfig.for_model(**config)
    make = transformers.AutoModelForSequenceClassification
    torch.manual_seed(1)
    model = make.from_config(config, attn_implementation='eager').eval()
    foreign_models.randomise(model)
    said = {**json.loads(config.to_json_string(use_diff=False))}
    said['architectures'] = [type(model).__name__]
    source = foreign_models.checkpoint(model, said)
    arch = from_foreign(said)[1]
    params = load(source, arch)
    tokens = np.maximum(TOKENS, 1)
    with torch.no_grad():
        want = model(torch.tensor(tokens, dtype=torch.int64)).logits.numpy()
    batch = {'tokens': tokens, 'ends': np.full((3, 1), 19)}
    batch['positions'] = np.broadcast_to(np.arange(20), (3, 20))
    batch['segments'] = np.zeros((3, 20), np.int32)
    rewards = jax.jit(heads.rewards, static_argnums=0)
    got = rewards(arch, params, jax.tree.map(jnp.asarray, batch))
    close(got, want)
    written = to_foreign(arch, params)
    assert written.config['architectures'] == said['architectures']
    assert written.tensors.keys() == source.tensors.keys()
    again = transformers.AutoConfig.for_model(**written.config)
    assert again.num_labels == 1
    twin = make.from_config(again, attn_implementation='eager').eval()
    state = {k: torch.tensor(x.read()) for k, x in written.tensors.items()}
    twin.load_state_dict(state, strict=True)
    with torch.no_grad():  # its pad id is not known, so one row at a time
        rows = [twin(torch.tensor(row[None], dtype=torch.int64)) for row in tokens]
    np.testing.assert_allclose(
        np.concatenate([row.logits for row in rows]), want, atol=1e-4
    )
