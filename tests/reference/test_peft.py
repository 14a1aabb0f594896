"""Adapters of PEFT read and written, beside PEFT itself."""

import functools
import json

import foreign_models
import jax
import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from perl.adapters import peft as ours
from perl.adapters import tree
from perl.models import decoder, heads
from perl.models.families import from_foreign, load

FAMILIES = ('llama', 'qwen2', 'gemma', 'gpt_neox', 'gpt2', 'phi3')
ALL = {
    'gpt_neox': ['query_key_value', 'dense', 'dense_h_to_4h', 'dense_4h_to_h'],
    'gpt2': ['c_attn', 'attn.c_proj', 'c_fc'],
    'phi3': ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj'],
}
LLAMA = ['q_proj', 'v_proj', 'o_proj', 'gate_proj', 'down_proj']
KINDS = {
    'plain': {'r': 3, 'lora_alpha': 7},
    'rslora': {'r': 3, 'lora_alpha': 5, 'use_rslora': True},
    'dora': {'r': 2, 'lora_alpha': 4, 'use_dora': True},
    'patterns': {'r': 3, 'lora_alpha': 7, 'rank_pattern': {}, 'alpha_pattern': {}},
}
TOKENS = np.random.default_rng(0).integers(1, 61, (3, 12)).astype(np.int32)


@functools.cache
def base(family):
    model = foreign_models.model_of(family)
    config = foreign_models.raw_config(family)
    arch = from_foreign(config)[1]
    params = load(foreign_models.checkpoint(model, config), arch, 'float32')
    return arch, params


def fresh(family, scores=False):
    """A model of transformers with the weights of `base`, its own to change."""
    causal = foreign_models.model_of(family)
    kind = transformers.AutoModelForCausalLM
    if scores:
        kind = transformers.AutoModelForSequenceClassification
    config = json.loads(causal.config.to_json_string(use_diff=False))
    config |= {'num_labels': 1, 'pad_token_id': 0} if scores else {}
    config = transformers.AutoConfig.for_model(**config)
    model = kind.from_config(config, attn_implementation='eager')
    lost = model.load_state_dict(causal.state_dict(), strict=False)
    assert lost.missing_keys == (['score.weight'] if scores else [])
    return model.eval()


def kin(family):
    return from_foreign(foreign_models.raw_config(family))[0]


def trained(family, folder, scores=False, **settings):
    """An adapter of PEFT with random numbers in every part, and its model."""
    if 'rank_pattern' in settings:
        first, last = ALL.get(family, LLAMA)[:: len(ALL.get(family, LLAMA)) - 1]
        settings |= {'rank_pattern': {first: 5}, 'alpha_pattern': {last: 11}}
    config = peft.LoraConfig(
        **{
            'task_type': 'SEQ_CLS' if scores else 'CAUSAL_LM',
            'target_modules': ALL.get(family, LLAMA),
            'fan_in_fan_out': family == 'gpt2',
            **settings,
        }
    )
    model = peft.get_peft_model(fresh(family, scores), config).eval()
    torch.manual_seed(1)
    for name, x in model.named_parameters():
        if 'lora_magnitude' in name:
            x.data = x.data * (0.5 + torch.rand(x.shape))
        elif x.requires_grad:
            x.data = 0.3 * torch.randn(x.shape)
    model.save_pretrained(folder)
    return model


@functools.partial(jax.jit, static_argnums=0)
def logits(arch, params):
    positions = np.broadcast_to(np.arange(TOKENS.shape[1]), TOKENS.shape)
    states = decoder.hidden(arch, params, TOKENS, positions)
    if heads.HEAD in params:
        return heads.scalar(params, states)[:, -1]
    return decoder.unembed(arch, params, states)


def theirs(model):
    with torch.no_grad():
        out = model(torch.tensor(TOKENS.astype(np.int64)), use_cache=False).logits
    return out.numpy() if out.ndim == 3 else out.numpy()[:, 0]


def close(got, want):
    assert np.std(want) > 0.01
    np.testing.assert_allclose(got, want, atol=1e-4 * max(1, np.abs(want).max()))


def same_files(one, two):
    first, second = (load_file(x / 'adapter_model.safetensors') for x in (one, two))
    assert first.keys() == second.keys()
    for name, x in first.items():
        np.testing.assert_array_equal(second[name], x, err_msg=name)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('family', FAMILIES)
def test_there_and_back(family, kind, tmp_path):
    """Read: PEFT's logits, active and merged. Written again: the same bits, which
    PEFT loads to the same logits."""
    model = trained(family, tmp_path / 'theirs', **KINDS[kind])
    want, (arch, params) = theirs(model), base(family)
    assert np.abs(want - theirs(foreign_models.model_of(family))).max() > 0.05
    read = ours.read(tmp_path / 'theirs', arch)
    close(logits(arch, tree.bind(params, read.delta)), want)
    close(
        logits(arch, tree.merge(params, read.delta)), theirs(model.merge_and_unload())
    )
    ours.write(tmp_path / 'ours', arch, read.delta, read.tuning, family=kin(family))
    same_files(tmp_path / 'theirs', tmp_path / 'ours')
    again = peft.PeftModel.from_pretrained(fresh(family), tmp_path / 'ours')
    close(theirs(again.eval()), want)


@pytest.mark.parametrize('family', FAMILIES)
def test_reward_models(family, tmp_path):
    model = trained(family, tmp_path / 'theirs', scores=True, r=3, lora_alpha=5)
    want, (arch, params) = theirs(model), base(family)
    read = ours.read(tmp_path / 'theirs', arch)
    close(logits(arch, tree.bind(params, read.delta)), want)
    ours.write(tmp_path / 'ours', arch, read.delta, read.tuning, family=kin(family))
    same_files(tmp_path / 'theirs', tmp_path / 'ours')
    assert not (tmp_path / 'ours' / 'reward.json').exists()
    again = peft.PeftModel.from_pretrained(fresh(family, True), tmp_path / 'ours')
    close(theirs(again.eval()), want)
