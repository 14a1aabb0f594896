"""Runs over a base that is stored in few bits."""

import json

import jax
import numpy as np
import pytest
import runs
from commands import command
from safetensors.numpy import load_file

from perl import check
from perl import config as configs
from perl.adapters import tree
from perl.config import rules
from perl.export import export, stage_role
from perl.models import decoder
from perl.runs import opening
from perl.runs.model_alone import open_alone
from perl.system.errors import UserError
from perl.weights import Stored, flatten
from perl.weights.affine import Int4
from perl.weights.nf4 import Nf4

STAGES = ('sft', 'reward', 'policy')
BASE = ('tokenizer', 'pretrain')


def tuned(name, **changes):
    """The small experiment with a tuning in every stage."""
    tunings = {f'{stage}.tuning.name': name for stage in STAGES}
    return runs.config('', **tunings, **changes)


@pytest.fixture(scope='module')
def pretrained(finished, tmp_path_factory):
    """A run folder in which only the base is made."""
    return runs.copy(finished, tmp_path_factory.mktemp('base'), ['pretrain'])


@pytest.fixture(scope='module')
def trained(pretrained, tmp_path_factory):
    """A whole run with QLoRA in all stages, one of them interrupted and gone on."""
    folder = runs.clone(pretrained, tmp_path_factory.mktemp('qlora') / 'run')
    with pytest.raises(runs.Killed), runs.dying('reward', 4, runs.killed):
        runs.run(tuned('qlora'), folder)
    runs.run(tuned('qlora'), folder)
    return folder


def test_every_stage_trains_over_it(trained):
    figures = runs.results(trained)
    for stage in STAGES:
        assert figures[stage]['tuning'] == 'qlora r=2'
    # all seven kernels of one layer, of 16 or 32 inputs and outputs, with rank 2
    assert figures['sft']['trainable'] == 2 * (4 * (16 + 16) + 3 * (16 + 32))


def test_the_base_of_a_run_is_stored_and_named_so(trained):
    run = opening.open_finished(trained)
    kernels = [x for x in flatten(run.base).values() if isinstance(x, Stored)]
    assert len(kernels) == 7 and all(isinstance(x, Nf4) for x in kernels)
    assert run.base_id.endswith('-nf4')
    assert not isinstance(run.base['embed'], Stored)
    role = run.role('policy')
    assert role.base is run.base and run.reward_role('reward').base is run.base


def test_what_is_saved_does_not_hold_the_base(trained):
    """Neither the adapters nor the checkpoints."""
    for stage in STAGES:
        folder = trained / stage / 'adapter'
        arrays = load_file(folder / 'adapter.safetensors')
        assert {name.split('/')[-1] for name in arrays} <= {'a', 'b', 'kernel', 'bias'}
        card = json.loads((folder / 'adapter.json').read_text())
        assert card['base'].endswith('-nf4')
    held = json.dumps(list(runs.files(trained / 'policy')))
    assert 'scale_codes' not in held
    # the base on disk is that of pretraining: floating point, for any quantization
    saved = json.loads((trained / 'pretrain' / 'base' / 'model.json').read_text())
    assert saved.get('quantization', 'none') == 'none'


def test_an_adapter_for_peft_is_told_of_its_base(trained, tmp_path):
    run = opening.open_finished(trained)
    with jax.set_mesh(run.mesh):
        said = export(run, stage_role(run, 'policy'), 'peft', tmp_path / 'new')
    assert 'it has learned on a base in nf4: store that so too' in said


def test_going_on_gives_what_an_unbroken_run_gives(trained, pretrained, tmp_path):
    whole = runs.clone(pretrained, tmp_path / 'run')
    runs.run(tuned('qlora'), whole, ['sft', 'reward'])
    for stage in ('sft', 'reward'):
        runs.assert_same(trained, whole, stage)


def test_an_adapter_belongs_to_the_quantization(trained, finished, tmp_path):
    run = opening.open_finished(trained)
    with pytest.raises(UserError, match=r'was trained on the base \w+, this run has'):
        run.role(str(finished / 'sft' / 'adapter'))


def test_qalora_folds_into_the_base_of_a_run(pretrained, tmp_path):
    folder = runs.clone(pretrained, tmp_path / 'run')
    runs.run(tuned('qalora'), folder, ['sft'])
    run = opening.open_finished(folder)
    role = run.role('sft')
    folded = flatten(tree.fold(role.base, role.delta))
    for path, x in flatten(role.base).items():
        if isinstance(x, Stored):
            assert isinstance(folded[path], Int4)
            np.testing.assert_array_equal(folded[path].codes, x.codes)
            assert np.any(folded[path].offset != x.offset)


@pytest.fixture(scope='module')
def merged(pretrained, tmp_path_factory):
    """A run with QA-LoRA, and the folders of its SFT and reward models."""
    folder = runs.clone(pretrained, tmp_path_factory.mktemp('qalora') / 'run')
    runs.run(tuned('qalora'), folder, ['sft', 'reward'])
    for stage in ('sft', 'reward'):
        output = folder.parent / stage
        args = (f'--workdir={folder}', f'--stage={stage}', f'--output={output}')
        ended = command('perl.export', *args, '--format=merged')
        assert ended.code == 0 and 'its kernels stay in int4' in ended.err, ended
    return folder


def test_merged_kernels_are_those_of_the_base_with_other_offsets(merged):
    """On disk; the model computes what base and adapter do."""
    run = opening.open_finished(merged)
    alone = open_alone(str(merged.parent / 'sft'))
    assert alone.arch.quantization == 'int4' and alone.base_id.endswith('-int4')
    for path, x in flatten(run.base).items():
        new = flatten(alone.base)[path]
        if isinstance(x, Stored):
            np.testing.assert_array_equal(new.codes, x.codes)
            assert np.any(new.offset != x.offset)
        else:
            np.testing.assert_array_equal(new, x)
    tokens = np.random.default_rng(0).integers(3, 60, (2, 20)).astype(np.int32)
    rows = tokens, np.broadcast_to(np.arange(20), (2, 20))
    want = decoder.hidden(run.arch, run.role('sft').bound(), *rows)
    got = decoder.hidden(alone.arch, alone.base, *rows)
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert np.abs(got - decoder.hidden(run.arch, run.base, *rows)).max() > 1e-3


def test_qalora_has_no_name_in_peft(merged, tmp_path):
    output = tmp_path / 'peft'
    args = (f'--workdir={merged}', '--stage=sft', f'--output={output}')
    ended = command('perl.export', *args, '--format=peft')
    assert 'has an adapter of kind Pooled, which PEFT has no name for' in ended.error
    assert not output.exists()


def test_commands_take_a_merged_folder_without_any_flag(merged, tmp_path):
    asked = ('--prompt=A table.', '--temperature=0', '--max_tokens=9', '--json')
    within = command('perl.generate', f'--workdir={merged}', '--adapter=sft', *asked)
    alone = command('perl.generate', f'--model={merged.parent / "sft"}', *asked)
    assert alone.code == within.code == 0, alone
    assert json.loads(alone.out)['response'] == json.loads(within.out)['response']
    pairs = tmp_path / 'pairs.jsonl'
    row = {'prompt': 'A table.', 'chosen': 'Yes, at seven.', 'rejected': 'No.'}
    pairs.write_text(json.dumps(row) + '\n')
    model = merged.parent / 'reward'
    within = command('perl.score', f'--workdir={merged}', f'--input={pairs}')
    alone = command('perl.score', f'--model={model}', f'--input={pairs}')
    assert alone.code == within.code == 0, alone
    got, want = (json.loads(x.out)['chosen_reward'] for x in (alone, within))
    assert got == pytest.approx(want, abs=1e-4)
    ended = command('perl.generate', f'--model={model}', *asked)
    assert 'is a classifier, which has no logits' in ended.error


def test_a_run_over_a_merged_folder(merged, tmp_path):
    """An adapter trains over it; the config need not say how it is stored, and must not
    say otherwise. As a reward of a policy it scores."""
    changes = {'model.path': str(merged.parent / 'sft'), 'stages': ('sft', 'policy')}
    changes |= {'policy.reward': str(merged.parent / 'reward')}
    tunings = {f'{x}.tuning.targets': ('all-linear',) for x in ('sft', 'policy')}
    runs.run(runs.config('', **changes, **tunings), tmp_path / 'run')
    run = opening.open_finished(tmp_path / 'run')
    assert run.base_id == open_alone(changes['model.path']).base_id
    export(run, stage_role(run, 'base'), 'merged', tmp_path / 'base')
    with pytest.raises(UserError, match=r'a merge into a base in int4 would round'):
        export(run, stage_role(run, 'sft'), 'merged', tmp_path / 'new')
    assert not (tmp_path / 'new').exists()
    export(run, stage_role(run, 'sft'), 'merged', tmp_path / 'new', decoded=True)
    assert open_alone(str(tmp_path / 'new')).arch.quantization == 'none'
    again = open_alone(str(tmp_path / 'base'))
    assert again.base_id == run.base_id
    for wrong, says in (
        ({'model.quantization': 'nf4'}, r'model.quantization: nf4, but the base of '),
        ({'sft.tuning.name': 'qlora'}, r'qlora trains over a base in nf4'),
        ({'sft.tuning.name': 'full'}, r'full trains weights of the base'),
    ):
        config = runs.config('', **{**changes, 'stages': ('sft',), **wrong})
        with pytest.raises(UserError, match=says):
            check.check(config, tmp_path / 'no')


@pytest.mark.parametrize(
    'changes, says',
    [
        (
            {'model.quantization': 'int8', 'reward.tuning.name': 'qlora'},
            r'reward.tuning.name: qlora trains over a base in nf4, .* one in int8',
        ),
        (
            {'sft.tuning.name': 'qalora', 'reward.tuning.name': 'qlora'},
            r'reward.tuning.name: qlora .* in nf4, but this run has one in int4',
        ),
        (
            {'model.quantization': 'nf4', 'reward.tuning.name': 'full'},
            r'reward.tuning.name: full trains weights of the base, .* stored in nf4',
        ),
        (
            {'sft.tuning.name': 'top_layers', 'policy.tuning.name': 'qlora'},
            r'sft.tuning.name: top_layers trains weights of the base',
        ),
        ({'model.quantization': 'nf5'}, r"model.quantization: 'nf5' is not one of"),
    ],
)
def test_what_does_not_fit_is_said(changes, says):
    with pytest.raises(UserError, match=says):
        rules.validate(runs.config('', **changes))


def test_the_quantization_of_a_run():
    assert configs.quantization(runs.config('')) == 'none'
    stored = runs.config('', **{'model.quantization': 'fp8'})
    assert configs.quantization(stored) == 'fp8'
    mixed = runs.config('', **{'policy.tuning.name': 'qlora'})
    assert configs.quantization(mixed) == 'nf4'


def test_the_check_counts_the_bytes(tmp_path):
    """Before the base is made, of the base as it will be stored."""
    sizes = {'model.width': 64, 'model.head_width': 32, 'model.hidden': 128}
    sizes |= {f'{stage}.tuning.targets': ('all-linear',) for stage in STAGES}
    stored, plain = (
        check.check(tuned(name, **sizes), tmp_path / name)['stages']['policy']
        for name in ('qlora', 'lora')
    )
    frozen = [x['bytes_a_device']['frozen'] for x in (stored, plain)]
    kernels = 4 * 64 * 64 + 3 * 64 * 128
    assert frozen[1] - frozen[0] == pytest.approx(kernels * (4 - 0.516), rel=0.01)


def test_a_base_in_four_bits_trains_as_one_in_floats(tmp_path):
    """The held-out loss at the end is within 2 %, and below that at the start."""
    sizes = {
        **{'model.width': 64, 'model.layers': 2, 'model.head_width': 32},
        **{'model.hidden': 128, 'pretrain.steps': 80, 'pretrain.eval_every': 0},
        **{'pretrain.save_every': 80, 'sft.save_every': 60},
        **{'sft.steps': 60, 'sft.eval_every': 0, 'sft.tuning.rank': 8},
        **{'sft.tuning.targets': ('all-linear',), 'data.text': 400},
        **{'data.demonstrations': 256, 'sft.batch_size': 16},
        'stages': ('pretrain', 'sft'),
    }
    base = tmp_path / 'lora'
    lost = {}
    runs.run(runs.config('', **sizes), base, ['pretrain'])
    for name in ('lora', 'qlora', 'qalora'):
        folder = base
        if name != 'lora':
            folder = runs.copy(base, tmp_path / name, ['pretrain'])
        figures = runs.run(
            runs.config('', **sizes, **{'sft.tuning.name': name}), folder, ['sft']
        )
        lost[name] = figures['sft']['val_loss']
        first = runs.rows(folder / 'sft')[0]
        assert lost[name] < 0.9 * first['loss']
    assert lost['qlora'] == pytest.approx(lost['lora'], rel=0.02), lost
    assert lost['qalora'] == pytest.approx(lost['lora'], rel=0.05), lost
    jax.clear_caches()
