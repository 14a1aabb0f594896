"""`perl.export`: what a run trained, for other programs and back."""

import json

import jax
import numpy as np
import pytest
from commands import command

from perl.adapters import bundle, peft
from perl.export import FORMATS, export, stage_role
from perl.models import families
from perl.models.files import open_checkpoint
from perl.runs.opening import open_finished
from perl.system.errors import UserError

PAIRS = [
    {'prompt': 'A table.', 'chosen': 'Yes, at seven.', 'rejected': 'No.'},
    {'prompt': 'Hello.', 'chosen': 'Hi, for how many?', 'rejected': 'Bye.'},
]


@pytest.fixture(scope='module')
def opened(finished):
    """A finished run, opened."""
    return open_finished(finished)


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    """A file of pairs."""
    file = tmp_path_factory.mktemp('pairs') / 'pairs.jsonl'
    file.write_text(''.join(json.dumps(row) + '\n' for row in PAIRS))
    return file


def run(*args):
    """What the command prints."""
    ended = command('perl.export', *args)
    assert ended.code == 0, ended
    return ended.out


def rewards(*args):
    """The rows that `perl.score` prints, and its note."""
    ended = command('perl.score', *args)
    assert ended.code == 0, ended
    return [json.loads(line) for line in ended.out.splitlines()], ended.err


@pytest.mark.parametrize('form', ['peft', 'bundle'])
def test_a_reward_model_scores_the_same_without_its_run(
    finished, tmp_path, pairs, form
):
    where = tmp_path / 'reward'
    said = run(
        f'--workdir={finished}', '--stage=reward', f'--format={form}',
        f'--output={where}',
    )  # fmt: skip
    assert said == f'{where}: {form}\n'
    base = f'--model={finished / "pretrain" / "base"}'
    alone, note = rewards(base, f'--adapter={where}', f'--input={pairs}')
    within, _ = rewards(f'--workdir={finished}', '--reward=reward', f'--input={pairs}')
    for name in ('chosen_reward', 'rejected_reward'):
        got, want = ([row[name] for row in rows] for rows in (alone, within))
        np.testing.assert_allclose(got, want, atol=1e-5)
    wins = np.mean([x['chosen_reward'] > x['rejected_reward'] for x in within])
    assert note.strip().endswith(f'2 pairs, accuracy {wins:.1%}')


def test_a_policy_speaks_the_same_without_its_run(finished, tmp_path):
    where, asked = tmp_path / 'policy', ('--prompt=A table.', '--temperature=0')
    run(f'--workdir={finished}', '--stage=policy', f'--output={where}')
    base = f'--model={finished / "pretrain" / "base"}'
    short = (*asked, '--max_tokens=9', '--json')
    alone = command('perl.generate', base, f'--adapter={where}', *short)
    within = command('perl.generate', f'--workdir={finished}', *short)
    assert alone.code == 0, alone
    assert alone.out == within.out and json.loads(alone.out)['response']
    merged = tmp_path / 'merged'
    adapter = f'--adapter={where}'
    run(base, adapter, '--format=merged', f'--output={merged}')
    whole = command('perl.generate', f'--model={merged}', *short)
    assert whole.out == alone.out, whole


def test_to_peft_and_back_is_bit_equal(opened, tmp_path):
    """Also where every weight of a LoRA has been scaled in another way."""
    role = stage_role(opened, 'reward')
    export(opened, role, 'peft', tmp_path / 'one')
    back = opened.adapter(str(tmp_path / 'one'), 'reward model')
    assert (back.shift, back.scale) == (role.shift, role.scale)
    want = jax.tree.leaves(role.delta)
    assert len(want) > 4
    for x, y in zip(jax.tree.leaves(back.delta), want, strict=True):
        np.testing.assert_array_equal(x, y)
    assert jax.tree.structure(back.delta) == jax.tree.structure(role.delta)
    export(opened, back, 'bundle', tmp_path / 'two')
    again, card = bundle.load(tmp_path / 'two', opened.base_id)
    assert card.scale == role.scale
    for x, y in zip(jax.tree.leaves(again), want, strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_merged_reward_model_is_a_classifier(opened, tmp_path):
    role = stage_role(opened, 'reward')
    note = export(opened, role, 'merged', tmp_path / 'all')
    made = open_checkpoint(tmp_path / 'all')
    assert families.is_classifier(made.config) and 'reward = ' in note
    head = made.tensors['score.weight'].read()
    np.testing.assert_array_equal(head[0], role.delta['head']['kernel'])
    assert made.config['pad_token_id'] != opened.tokenizer.eos
    assert len(made.config['id2label']) == 1


@pytest.mark.parametrize('form', FORMATS)
def test_a_folder_with_content_is_left_alone(opened, tmp_path, form):
    (tmp_path / 'mine.txt').write_text('mine')
    role = stage_role(opened, 'policy')
    with pytest.raises(UserError, match=r'--output: .* has content already'):
        export(opened, role, form, tmp_path)
    assert [x.name for x in tmp_path.iterdir()] == ['mine.txt']


def test_tuning_in_full_has_no_name_in_peft(opened, tmp_path):
    role = stage_role(opened, 'reward_full')
    with pytest.raises(UserError, match='no name for the tuning full; write --format='):
        export(opened, role, 'peft', tmp_path / 'new')
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('form', ['peft', 'bundle'])
def test_a_base_is_no_adapter(opened, tmp_path, form):
    with pytest.raises(UserError, match='a base has no adapter; write --format=merged'):
        export(opened, stage_role(opened, 'base'), form, tmp_path / 'new')


@pytest.mark.parametrize(
    ('args', 'said'),
    [
        (('--stage=reward',), '--workdir or --model is required: give a run'),
        (('--workdir=none',), '--stage or --adapter is required: give a stage'),
        (('--workdir=none', '--stage=sft'), 'none'),
        (('--model=none', '--adapter=x'), '--model: none is not there'),
        (('--model=none', '--stage=sft'), '--stage names a stage of a run: give'),
    ],
)
def test_bad_flags(tmp_path, args, said):
    ended = command('perl.export', *args, f'--output={tmp_path / "new"}')
    assert said in ended.error


def test_an_adapter_of_another_base(opened, tmp_path):
    export(opened, stage_role(opened, 'policy'), 'peft', tmp_path / 'one')
    file = tmp_path / 'one' / 'adapter_config.json'
    config = json.loads(file.read_text())
    for key, value, said in (
        ('r', config['r'] + 1, 'its ranks are not those of the config'),
        ('peft_type', 'IA3', "peft_type is 'IA3'; only LORA is read"),
        ('lora_bias', True, 'lora_bias is True; it is not handled'),
        ('task_type', 'SEQ_CLS', 'has no base_model.model.score.weight'),
        ('init_lora_weights', 'pissa', 'it changes the base'),
    ):
        file.write_text(json.dumps({**config, key: value}))
        with pytest.raises(UserError) as error:
            opened.adapter(str(tmp_path / 'one'))
        assert said in str(error.value) and '\n' not in str(error.value)
    assert peft.is_peft(tmp_path / 'one')


def test_scores_are_not_written_over_a_file_of_another(finished, tmp_path, pairs):
    file = tmp_path / 'mine.jsonl'
    file.write_text('{"mine": 1}\n')
    ended = command(
        'perl.score', f'--workdir={finished}', f'--input={pairs}', f'--output={file}'
    )
    assert 'has no rewards of perl.score' in ended.error
    assert file.read_text() == '{"mine": 1}\n'


def test_a_model_alone_needs_an_adapter_to_score(finished, pairs):
    base = finished / 'pretrain' / 'base'
    ended = command('perl.score', f'--model={base}', f'--input={pairs}')
    assert '--adapter: give the folder of a reward model' in ended.error


def test_an_adapter_of_peft_is_trained_further(opened, finished, tmp_path):
    """SFT goes on from the SFT of another run; the reverse is an export again."""
    export(opened, stage_role(opened, 'sft'), 'peft', tmp_path / 'one')
    args = [
        '--config=tests/small.py', f'--config.model.path={finished / "pretrain/base"}',
        '--config.stages=sft', f'--config.sft.start={tmp_path / "one"}',
    ]  # fmt: skip
    ended = command('perl.train', *args, f'--workdir={tmp_path / "run"}')
    assert ended.code == 0, ended
    more = open_finished(tmp_path / 'run')
    before, after = stage_role(opened, 'sft'), stage_role(more, 'sft')
    assert jax.tree.structure(before.delta) == jax.tree.structure(after.delta)
    first = lambda role: np.asarray(role.delta['layers']['attention']['q'].a)  # noqa: E731
    moved = np.abs(first(before) - first(after)).max()
    assert 0 < moved < 0.1
    export(more, after, 'peft', tmp_path / 'two')
    again = command('perl.train', *args, f'--workdir={tmp_path / "run"}')
    assert again.code == 0, again
    for name in ('rank=3', "modules_to_save=('norm',)"):  # the check finds it too
        wrong = (*args, f'--config.sft.tuning.{name}', f'--workdir={tmp_path / "no"}')
        assert 'goes on from an adapter of' in command('perl.check', *wrong).error
    assert 'goes on from an adapter of' in command('perl.train', *wrong).error
    checked = command('perl.check', *args, f'--workdir={tmp_path / "new"}')
    assert checked.code == 0, checked


def test_a_policy_does_not_go_on_from_a_reward_model(opened, finished, tmp_path):
    export(opened, stage_role(opened, 'reward'), 'peft', tmp_path / 'one')
    ended = command(
        'perl.train', '--config=tests/small.py', '--config.stages=sft',
        f'--config.model.path={finished / "pretrain/base"}',
        f'--config.sft.start={tmp_path / "one"}', f'--workdir={tmp_path / "run"}',
    )  # fmt: skip
    assert 'has a scalar head, so it is not a policy' in ended.error


def test_weights_in_full_go_to_peft_and_are_trained_further(finished, tmp_path):
    """Norms beside the factors; the error of another tuning says what both are."""
    args = [
        '--config=tests/small.py', f'--config.model.path={finished / "pretrain/base"}',
        '--config.stages=sft',
    ]  # fmt: skip
    norms = "--config.sft.tuning.modules_to_save=('norm', 'layers/.*/norm')"
    ended = command('perl.train', *args, norms, f'--workdir={tmp_path / "one"}')
    assert ended.code == 0, ended
    one = open_finished(tmp_path / 'one')
    role = stage_role(one, 'sft')
    assert np.any(role.delta['norm'] != one.base['norm'])
    export(one, role, 'peft', tmp_path / 'peft')
    start = f'--config.sft.start={tmp_path / "peft"}'
    ended = command('perl.train', *args, norms, start, f'--workdir={tmp_path / "two"}')
    assert ended.code == 0, ended
    after = stage_role(open_finished(tmp_path / 'two'), 'sft')
    assert jax.tree.structure(after.delta) == jax.tree.structure(role.delta)
    moved = np.abs(np.asarray(after.delta['norm'] - role.delta['norm'])).max()
    assert 0 < moved < 0.1
    wrong = command('perl.train', *args, start, f'--workdir={tmp_path / "no"}')
    assert "modules_to_save=('norm'" in wrong.error
    assert 'but asks for' in wrong.error and 'modules_to_save=()' in wrong.error
    export(one, one.adapter(str(tmp_path / 'peft')), 'bundle', tmp_path / 'bundle')
    again = one.adapter(str(tmp_path / 'bundle'))
    np.testing.assert_array_equal(again.delta['norm'], role.delta['norm'])
