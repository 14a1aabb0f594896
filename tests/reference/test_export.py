"""Folders of `perl.export` as transformers loads them, with their tokenizers."""

import foreign_models
import jax
import numpy as np
import pytest
import torch
import transformers
from commands import command

from perl.adapters.tunings import create
from perl.export import export
from perl.models import heads
from perl.models.architecture import parameters
from perl.models.files import stops
from perl.runs.base import over, tokenizer_of
from perl.runs.model_alone import open_alone
from perl.runs.roles import Role
from perl.system.errors import UserError

TEXTS = ['the table', 'a', 'the table is for two people']


def test_a_merged_reward_model_reads_padded_texts_at_their_ends(tmp_path):
    run = open_alone(str(foreign_models.save_llama(tmp_path / 'base')))
    assert run.tokenizer.pad == run.tokenizer.eos == 2
    leaves = parameters(run.arch)
    tuning = create({'name': 'lora', 'rank': 2, 'targets': ('attention',)})
    delta = tuning.init(jax.random.key(0), run.base, leaves)
    delta = jax.tree.map(lambda x: x + 0.2, delta)
    delta[heads.HEAD] = heads.init_head(jax.random.key(1), run.arch.width)
    role = Role(run.base, run.base_id, delta, tuning)
    export(run, role, 'merged', tmp_path / 'made')
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / 'made'
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / 'made')
    assert model.config.pad_token_id == tokenizer.pad_token_id == 1
    assert model.config.eos_token_id == 2
    texts = [f'{tokenizer.bos_token}{x}{tokenizer.eos_token}' for x in TEXTS]
    rows = tokenizer(texts, padding=True, return_tensors='pt', add_special_tokens=False)
    assert rows['attention_mask'].sum(-1).unique().numel() == len(TEXTS)
    with torch.no_grad():
        got = model(rows['input_ids'], attention_mask=rows['attention_mask']).logits
    for row, logit in zip(texts, got[:, 0], strict=True):
        ids = tokenizer(row, return_tensors='pt', add_special_tokens=False)['input_ids']
        tokens = ids.numpy().astype(np.int32)
        batch = {
            'tokens': tokens,
            'positions': np.arange(tokens.shape[1], dtype=np.int32)[None],
            'segments': np.zeros_like(tokens),
            'ends': np.array([[tokens.shape[1] - 1]]),
        }
        want = heads.rewards(run.arch, role.bound(), batch)
        np.testing.assert_allclose(logit.item(), want[0, 0], atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_base_alone_is_written_as_it_was(tmp_path, dtype):
    """By the command; every tensor has the bits and the dtype of the folder."""
    source = foreign_models.save_llama(tmp_path / 'base')
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
    model.save_pretrained(source)
    ended = command(
        'perl.export', f'--model={source}', '--stage=base', '--format=merged',
        f'--output={tmp_path / "made"}',
    )  # fmt: skip
    assert ended.code == 0, ended
    made = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / 'made', dtype='auto'
    )
    want, got = model.state_dict(), made.state_dict()
    assert want.keys() == got.keys()
    for name in ('bos_token_id', 'eos_token_id', 'pad_token_id'):
        assert getattr(made.config, name) == getattr(model.config, name)
    assert made.config.pad_token_id is None
    for name, tensor in want.items():
        assert got[name].dtype == dtype and torch.equal(got[name], tensor), name
    found = transformers.AutoTokenizer.from_pretrained(tmp_path / 'made')
    assert (
        found('the table')['input_ids']
        == (
            transformers.AutoTokenizer.from_pretrained(source)('the table')['input_ids']
        )
    )


def test_a_stage_wants_its_run():
    ended = command('perl.export', '--model=nowhere', '--stage=sft', '--output=made')
    assert ended.code and ended.err.startswith('error: --stage names a stage of')


def test_a_foreign_base_in_few_bits_is_written_as_ours(tmp_path):
    """With its tokenizer, its chat template, and the ids that end a response."""
    source = foreign_models.save_llama(tmp_path / 'base')
    template = (
        '{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}'
        '{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}'
    )
    (source / 'chat_template.jinja').write_text(template)
    (source / 'generation_config.json').write_text('{"eos_token_id": [2, 7]}')
    tokenizer = tokenizer_of(str(source))
    run = over(str(source), tokenizer, quantization='int4')
    export(run, Role(run.base, run.base_id, {}, None), 'merged', tmp_path / 'made')
    alone = open_alone(str(tmp_path / 'made'))
    assert alone.arch.quantization == 'int4'
    for x, y in zip(
        jax.tree.leaves(alone.base), jax.tree.leaves(run.base), strict=True
    ):
        np.testing.assert_array_equal(x, y)
    assert alone.tokenizer.fingerprint == tokenizer.fingerprint
    assert stops(source) == stops(tmp_path / 'made') == (2, 7)
    asked = open_alone(str(tmp_path / 'made'), converses=True).tokenizer
    first = open_alone(str(source), converses=True).tokenizer
    assert asked.template.source == first.template.source == template
    assert asked.stops == first.stops and 7 in asked.stops
    with pytest.raises(UserError, match=r'would round what was trained.*--decoded'):
        export(run, _lora(run), 'merged', tmp_path / 'no')
    export(run, _lora(run), 'merged', tmp_path / 'floats', decoded=True)
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'floats')


def _lora(run):
    tuning = create({'name': 'lora', 'rank': 2, 'targets': ('attention',)})
    delta = tuning.init(jax.random.key(0), run.base, parameters(run.arch))
    return Role(run.base, run.base_id, delta, tuning)
