"""Adapters of PEFT read and written, beside PEFT itself."""

import dataclasses
import functools
import json

import foreign_models
import jax
import numpy as np
import peft
import pytest
import torch
import transformers
from peft_models import LLAMA, base, fresh
from safetensors.numpy import load_file, save_file

from perl.adapters import peft as ours
from perl.adapters import tree
from perl.adapters.tunings import create
from perl.models import decoder, heads
from perl.models.architecture import parameters
from perl.models.families import from_foreign, to_foreign
from perl.models.files import write_checkpoint
from perl.runs import roles
from perl.system.errors import UserError
from perl.weights import abstract

FAMILIES = ('llama', 'qwen2', 'gemma', 'gpt_neox', 'gpt2', 'phi3')
ALL = {
    'gpt_neox': ['query_key_value', 'dense', 'dense_h_to_4h', 'dense_4h_to_h'],
    'gpt2': ['c_attn', 'attn.c_proj', 'c_fc'],
    'phi3': ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj'],
}
KINDS = {
    'plain': {'r': 3, 'lora_alpha': 7},
    'rslora': {'r': 3, 'lora_alpha': 5, 'use_rslora': True},
    'dora': {'r': 2, 'lora_alpha': 4, 'use_dora': True},
    'patterns': {'r': 3, 'lora_alpha': 7, 'rank_pattern': {}, 'alpha_pattern': {}},
}
# of families whose kernels have the names of a Llama's, two kinds
CASES = [
    (family, kind)
    for family in FAMILIES
    for kind in KINDS
    if family not in ('qwen2', 'gemma') or kind in ('plain', 'dora')
]
ARRAYS = 'adapter_model.safetensors'
TOKENS = np.random.default_rng(0).integers(1, 61, (3, 12)).astype(np.int32)


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
    """The same adapters, but for the copies of the base that PEFT may add."""
    first, second = (
        {k: x for k, x in load_file(f / ARRAYS).items() if 'base_layer' not in k}
        for f in (one, two)
    )
    assert first.keys() == second.keys()
    for name, x in first.items():
        np.testing.assert_array_equal(second[name], x, err_msg=name)


@pytest.mark.parametrize(('family', 'kind'), CASES)
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


def elsewhere(delta, seed):
    """A delta that has moved at random."""
    keys = iter(jax.random.split(jax.random.key(seed), 99))
    return jax.tree.map(
        lambda x: x + 0.3 * jax.random.normal(next(keys), x.shape), delta
    )


def own(arch, params, kind, targets, head=False):
    """A delta as we train one: every kernel has factors of its own."""
    tuning = create(
        {'name': kind, 'rank': 3, 'alpha': 5.0, 'targets': targets}
        | ({'rank_stabilised': True} if kind == 'lora' else {})
    )
    delta = tuning.init(jax.random.key(0), params, parameters(arch))
    delta = elsewhere(delta, 1)
    if head:
        head = heads.init_head(jax.random.key(2), arch.width)
        delta = {**delta, heads.HEAD: head}
    return delta, tuning


@pytest.mark.parametrize('kind', ['lora', 'dora'])
@pytest.mark.parametrize('family', FAMILIES)
def test_what_we_train_in_peft(family, kind, tmp_path):
    """Also where transformers joins kernels whose factors here are apart."""
    arch, params = base(family)
    delta, tuning = own(arch, params, kind, ('all-linear',))
    ours.write(tmp_path / 'ours', arch, delta, tuning, family=kin(family))
    model = peft.PeftModel.from_pretrained(fresh(family), tmp_path / 'ours').eval()
    want = logits(arch, tree.bind(params, delta))
    close(theirs(model), np.asarray(want))
    close(theirs(model.merge_and_unload()), np.asarray(want))
    read = ours.read(tmp_path / 'ours', arch)
    close(logits(arch, tree.bind(params, read.delta)), np.asarray(want))


@pytest.mark.parametrize('family', ['llama', 'phi3', 'gpt_neox', 'gpt2'])
def test_some_of_the_kernels_that_are_joined(family, tmp_path):
    """The rest has zeros; DoRA would have to know the norms of the base."""
    arch, params = base(family)
    targets = ('layers/attention/(q|v)', 'layers/mlp/up:2')
    delta, tuning = own(arch, params, 'lora', targets)
    ours.write(tmp_path / 'ours', arch, delta, tuning, family=kin(family))
    model = peft.PeftModel.from_pretrained(fresh(family), tmp_path / 'ours').eval()
    close(theirs(model), np.asarray(logits(arch, tree.bind(params, delta))))
    if family != 'llama':
        delta, tuning = own(arch, params, 'dora', targets)
        with pytest.raises(UserError, match='only some have DoRA; write --format='):
            ours.write(tmp_path / 'no', arch, delta, tuning, family=kin(family))


@pytest.mark.parametrize('family', FAMILIES)
def test_merged_reward_models(family, tmp_path):
    """A folder that `AutoModelForSequenceClassification` loads, with rows that are
    padded."""
    arch, params = base(family)
    delta, _ = own(arch, params, 'lora', ('attention',), head=True)
    whole = tree.merge(params, delta)
    made = to_foreign(arch, whole, kin(family), {'pad_token_id': 0})
    write_checkpoint(tmp_path, made.config, made.tensors)
    model, told = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not (told['missing_keys'] or told['unexpected_keys'])
    assert model.config.num_labels == 1 and model.config.pad_token_id == 0
    want = np.asarray(logits(arch, tree.bind(params, delta)))
    close(theirs(model.eval()), want)
    padded = np.pad(TOKENS, ((0, 0), (0, 3)))
    with torch.no_grad():
        mask = torch.tensor((padded > 0).astype(np.int64))
        ids = torch.tensor(padded.astype(np.int64))
        got = model(ids, attention_mask=mask).logits.numpy()[:, 0]
    close(got, want)


@pytest.mark.parametrize(
    'settings',
    [
        {'target_modules': ['embed_tokens', 'q_proj', 'lm_head']},
        {'target_modules': ['q_proj'], 'modules_to_save': ['embed_tokens', 'lm_head']},
        {'target_modules': ['q_proj'], 'modules_to_save': ['input_layernorm']},
        {'target_modules': ['q_proj', 'up_proj'], 'layers_to_transform': [1]},
        {'target_modules': r'.*layers\.0\..*(k_proj|down_proj)'},
        {'rank_pattern': {r'layers\.0\.self_attn\.q_proj': 6}, 'alpha_pattern': {
            r'layers\.0\.self_attn\.q_proj': 12}},
        {'rank_pattern': {r'layers\.1\.self_attn\.q_proj': 6}, 'alpha_pattern': {
            r'^model\.layers\.0\.mlp\.down_proj': 11}},
        {'rank_pattern': {r'layers\.1\.self_attn\.q_proj': 6}, 'use_dora': True},
    ],
    ids=['embeddings', 'saved', 'norms', 'a layer', 'expression', 'ranks by layer',
         'scales by layer', 'DoRA by layer'],
)  # fmt: skip
@pytest.mark.filterwarnings('ignore:.*save_embedding_layers')
def test_other_targets(settings, tmp_path):
    settings = {'r': 4, 'lora_alpha': 8, **settings}
    if 'embed_tokens' in settings.get('target_modules', ()):
        model = trained('llama', tmp_path / 'theirs', **settings)
    else:
        model = trained_as_it_is(tmp_path / 'theirs', settings)
    want, (arch, params) = theirs(model), base('llama')
    read = ours.read(tmp_path / 'theirs', arch)
    close(logits(arch, tree.bind(params, read.delta)), want)
    close(logits(arch, tree.bind(params, tree.with_one_scale(read.delta))), want)
    ours.write(tmp_path / 'ours', arch, read.delta, read.tuning)
    same_files(tmp_path / 'theirs', tmp_path / 'ours')
    again = peft.PeftModel.from_pretrained(fresh('llama'), tmp_path / 'ours')
    close(theirs(again.eval()), want)


def test_alphas_of_modules_and_layers_are_trained_further(tmp_path):
    """A stage begins with the same products, and the scales of its own tuning."""
    patterns = {'alpha_pattern': {'o_proj': 11, r'layers\.1\.mlp\.down_proj': 4}}
    trained_as_it_is(tmp_path, {'r': 4, 'lora_alpha': 8, **patterns})
    arch, params = base('llama')
    leaves, read = parameters(arch), ours.read(tmp_path, arch)
    targets = ('layers/attention/(q|v|o)', 'layers/mlp/(gate|down)')
    kind = create({'name': 'lora', 'rank': 4, 'alpha': 8.0, 'targets': targets})
    source = roles.Role(params, '', read.delta, read.tuning)
    begun = roles.begin(jax.random.key(0), kind, source, leaves, 'sft')
    declared = jax.tree.structure(abstract(kind.declare(leaves)))
    assert jax.tree.structure(begun.delta) == declared
    want = np.asarray(logits(arch, tree.bind(params, read.delta)))
    close(logits(arch, begun.bound()), want)
    other = dataclasses.replace(kind, rank=3)
    with pytest.raises(UserError, match='make the two alike'):
        roles.begin(jax.random.key(0), other, source, leaves, 'sft')


BIASES = {
    'all': ('gpt2', {'bias': 'all'}),
    'of factors': ('gpt2', {'bias': 'lora_only'}),
    'joined, of DoRA': ('gpt_neox', {'bias': 'lora_only', 'use_dora': True}),
    'of some kernels': ('qwen2', {'bias': 'all', 'target_modules': ['o_proj']}),
    'and a norm': (
        'gpt_neox',
        {'bias': 'all', 'modules_to_save': ['final_layer_norm']},
    ),
}


@pytest.mark.parametrize('case', BIASES)
def test_biases(case, tmp_path):
    """Those that PEFT trains are read, and written again as the same bits."""
    family, settings = BIASES[case]
    model = trained(family, tmp_path / 'theirs', r=3, **settings)
    want, (arch, params) = theirs(model), base(family)
    read = ours.read(tmp_path / 'theirs', arch)
    close(logits(arch, tree.bind(params, read.delta)), want)
    ours.write(tmp_path / 'ours', arch, read.delta, read.tuning, family=kin(family))
    files = [tmp_path / x / ARRAYS for x in ('theirs', 'ours')]
    first, second = map(load_file, files)
    copies = {x for x in first if 'original_module' in x or 'modules_to_save' in x}
    assert second.keys() == first.keys() - copies
    assert any(x.endswith('.bias') for x in second)
    for name, x in second.items():
        np.testing.assert_array_equal(first[name], x, err_msg=name)
    config = json.loads((tmp_path / 'ours' / 'adapter_config.json').read_text())
    assert config['bias'] == settings['bias']
    again = peft.PeftModel.from_pretrained(fresh(family), tmp_path / 'ours')
    close(theirs(again.eval()), want)


WHOLE = {
    'llama': ('attention', ('embed', 'unembed')),
    'gpt2': ('layers/attention/o', ('.*bias',)),
    'qwen2': ('attention', ('layers/attention/(q|v)_bias', 'norm')),
    'gpt_neox': (
        'layers/attention/o',
        ('layers/mlp/norm(_bias)?', 'embed', 'layers/attention/o_bias'),
    ),
}


@pytest.mark.parametrize('family', WHOLE)
def test_weights_in_full_are_trained_in_peft_here_and_there(family, tmp_path):
    """PEFT loads what a tuning trains; a stage goes on from the folder with the same
    tuning, and what it leaves loads again with equal logits."""
    arch, params = base(family)
    leaves = parameters(arch)
    targets, whole = WHOLE[family]
    settings = {'rank': 3, 'targets': (targets,), 'modules_to_save': whole}
    kind = create({'name': 'lora', **settings})
    role = roles.begin(
        jax.random.key(0), kind, roles.Role(params, '', {}, None), leaves, 'sft'
    )
    want = logits(arch, params)
    for step in range(2):
        close(logits(arch, role.bound()), np.asarray(want))
        moved = elsewhere(role.delta, step)
        folder = tmp_path / str(step)
        ours.write(folder, arch, moved, kind, family=kin(family))
        want = logits(arch, tree.bind(params, moved))
        model = peft.PeftModel.from_pretrained(fresh(family), folder)
        close(theirs(model.eval()), np.asarray(want))
        source = roles.imported(folder, arch, params, '')
        close(logits(arch, source.bound()), np.asarray(want))
        role = roles.begin(jax.random.key(0), kind, source, leaves, 'sft')
    other = dataclasses.replace(kind, modules_to_save=())
    with pytest.raises(
        UserError, match=r"goes on from .*modules_to_save=\('.*but asks"
    ):
        roles.begin(jax.random.key(0), other, source, leaves, 'sft')


def test_a_norm_without_its_bias_is_not_a_module(tmp_path):
    arch, params = base('gpt2')
    kind = create({'name': 'lora', 'rank': 3, 'modules_to_save': ('norm',)})
    delta = kind.init(jax.random.key(0), params, parameters(arch))
    with pytest.raises(
        UserError, match=r'ln_f is trained in part, .* train norm_bias too'
    ):
        ours.write(tmp_path, arch, delta, kind)


def trained_as_it_is(folder, settings):
    """As `trained`, with patterns that the settings have themselves."""
    patterns = {
        k: settings.pop(k) for k in ('rank_pattern', 'alpha_pattern') if k in settings
    }
    config = peft.LoraConfig(
        task_type='CAUSAL_LM', **{'target_modules': LLAMA, **settings, **patterns}
    )
    model = peft.get_peft_model(fresh('llama'), config).eval()
    torch.manual_seed(1)
    for _, x in model.named_parameters():
        if x.requires_grad:
            x.data = 0.3 * torch.randn(x.shape)
    model.save_pretrained(folder)
    return model


@pytest.mark.filterwarnings('ignore:.*tie_word_embeddings')
@pytest.mark.filterwarnings('ignore:.*save_embedding_layers')
def test_embeddings_of_a_tied_base_are_refused(tmp_path):
    trained('qwen2', tmp_path, target_modules=['embed_tokens', 'q_proj'])
    with pytest.raises(UserError, match='the base shares it with the unembedding'):
        ours.read(tmp_path, base('qwen2')[0])
    arch, params = base('qwen2')
    delta, tuning = own(arch, params, 'lora', ('embed',))
    trained('qwen2', tmp_path / 'head', target_modules=['lm_head', 'q_proj'])
    with pytest.raises(UserError, match='the base shares it with the embedding'):
        ours.read(tmp_path / 'head', arch)
    with pytest.raises(UserError, match='the embedding and the unembedding together'):
        ours.write(tmp_path / 'no', arch, delta, tuning)


def test_what_is_wrong_with_a_folder(tmp_path):
    trained('llama', tmp_path, r=3)
    arch, _ = base('llama')
    file = tmp_path / ARRAYS
    tensors = load_file(file)
    name = 'base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight'
    for wrong, said in (
        ({k: x for k, x in tensors.items() if k != name}, f'has no {name}'),
        ({**tensors, name: tensors[name][:-1]}, 'has shape'),
        ({**tensors, 'base_model.model.odd': tensors[name]}, 'base_model.model.odd is'),
        ({'odd': tensors[name]}, 'odd does not begin with base_model.model.'),
    ):
        save_file(wrong, file)
        with pytest.raises(UserError, match=said):
            ours.read(tmp_path, arch)
    save_file(tensors, file)
    other = dataclasses.replace(arch, layers=1)
    with pytest.raises(UserError, match='is not a part of a llama that is read'):
        ours.read(tmp_path, other)
    deeper = dataclasses.replace(arch, layers=3)
    with pytest.raises(UserError, match=r'layers.2.\S+, which target_modules'):
        ours.read(tmp_path, deeper)
    file.unlink()
    with pytest.raises(UserError, match='is not there; copy the whole folder'):
        ours.read(tmp_path, arch)
    (tmp_path / 'adapter_model.bin').write_bytes(b'PK')
    with pytest.raises(UserError, match='pickle'):
        ours.read(tmp_path, arch)


def test_a_tuning_without_a_name_in_peft(tmp_path):
    arch, params = base('llama')
    tuning = create({'name': 'pissa', 'rank': 2})
    delta = tuning.init(jax.random.key(0), params, parameters(arch))
    with pytest.raises(UserError, match=r'no name for|kind Pissa'):
        ours.write(tmp_path / 'no', arch, delta, tuning)
