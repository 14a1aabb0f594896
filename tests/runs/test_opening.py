"""What is found wrong before anything is trained, and what a folder then keeps."""

import json
import shutil

import foreign
import pytest
import runs
import tokenizer_files

from perl import check
from perl import config as configs
from perl.data.tokenizers import Bytes, Json
from perl.runs import opening, saved_config
from perl.runs.base import describe_base
from perl.system.errors import UserError


def begin(workdir, **changes):
    return opening.begin_run(runs.config(**changes), workdir)


@pytest.mark.parametrize(
    'changes, says',
    [
        ({'sft.batch_size': 6}, 'sft.batch_size: 6 rows do not divide'),
        ({'policy.batch_size': 6, 'policy.minibatches': 1}, 'policy.batch_size: 6'),
        ({'evaluation.batch_size': 6}, 'evaluation.batch_size: 6 rows do not divide'),
        (
            {'policy.ptx_coefficient': 1.0, 'policy.ptx_batch_size': 3},
            'policy.ptx_batch_size: 3 rows do not divide',
        ),
    ],
)
def test_a_batch_that_a_mesh_cannot_take(tmp_path, changes, says):
    changes = {'mesh.data': 4, **changes}
    with pytest.raises(UserError, match=says):
        begin(tmp_path / 'run', **changes)
    with pytest.raises(UserError, match=says):
        check.check(runs.config(**changes), tmp_path / 'run')
    assert not (tmp_path / 'run').exists(), 'so the mended config is not another one'


@pytest.mark.parametrize(
    'changes',
    [{'tokenizer.size': 5}, {'model.heads': 3}, {'sft.tuning.targets': ('nope',)}],
)
def test_a_start_that_failed_is_none(finished, tmp_path, changes):
    with pytest.raises(UserError):
        begin(tmp_path, **changes)
    assert not (tmp_path / 'config.json').exists()
    run = begin(tmp_path)
    whole = (finished / 'tokenizer' / 'tokenizer.model').read_bytes()
    assert (tmp_path / 'tokenizer' / 'tokenizer.model').read_bytes() == whole
    assert run.tokenizer.size == 420


def test_a_start_with_other_settings_leaves_nothing_behind(finished, tmp_path):
    """Not even if it was killed between its config and its first stage."""
    assert begin(tmp_path, **{'tokenizer.kind': 'bytes'}).tokenizer.size == 259
    assert begin(tmp_path).tokenizer.size == 420
    whole = runs.files(finished / 'tokenizer')
    assert runs.files(tmp_path / 'tokenizer') == whole


@pytest.mark.parametrize('see', [opening.begin_run, check.check])
@pytest.mark.parametrize(
    ('file', 'text', 'says'),
    [
        ('tokenizer/notes.txt', 'mine', 'tokenizer is there, but no run has begun'),
        ('config.json', '{"model_type": "llama"}', 'is not the config of a run'),
    ],
)
def test_files_of_others_stay_in_a_folder(see, file, text, says, tmp_path):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=says):
        see(runs.config(), tmp_path)
    assert runs.files(tmp_path) == {file: text.encode()}


def test_a_tokenizer_in_the_folder_is_not_lost_to_a_bad_flag(tmp_path):
    """Neither that of a base which is taken for the folder of a run, nor the one that
    the config names."""
    Bytes().save(tmp_path / 'tokenizer')
    before = runs.files(tmp_path)
    changes = {'tokenizer.kind': 'file', 'tokenizer.path': str(tmp_path / 'tokenizer')}
    for more in ({}, changes, {'sft.tuning.targets': ('nope',)}):
        with pytest.raises(UserError):
            begin(tmp_path, **more)
        assert runs.files(tmp_path) == before


def test_an_error_of_a_tuning_has_the_full_name_of_the_setting(tmp_path):
    with pytest.raises(UserError, match=r"^reward\.tuning\.targets: 'nope' matches"):
        begin(tmp_path, **{'reward.tuning.targets': ('nope',)})


def test_what_is_opened_and_has_not_begun_may_change(tmp_path):
    begin(tmp_path, **{'tokenizer.size': 400})
    assert begin(tmp_path).tokenizer.size == 420
    said = json.loads((tmp_path / 'config.json').read_text())
    assert said['tokenizer']['size'] == 420


def test_an_empty_folder_of_a_stage_is_no_beginning(finished, tmp_path):
    runs.copy(finished, tmp_path / 'run', ('pretrain',), config=True)
    (tmp_path / 'run' / 'sft' / 'checkpoints').mkdir(parents=True)
    saved_config.check(runs.config(**{'sft.batch_size': 4}), tmp_path / 'run')
    (tmp_path / 'run' / 'sft' / 'metrics.jsonl').write_text('{"step": 1}\n')
    with pytest.raises(UserError, match=r'sft\.batch_size: was 8, is 4'):
        saved_config.check(runs.config(**{'sft.batch_size': 4}), tmp_path / 'run')


def test_a_run_of_a_larger_mesh_is_read_on_a_smaller_machine(finished, tmp_path):
    workdir = runs.clone(finished, tmp_path / 'run')
    file = workdir / 'config.json'
    said = json.loads(file.read_text())
    said['mesh'] = {'data': 4, 'fsdp': 2, 'tensor': 2}
    file.write_text(json.dumps(said))
    run = opening.open_finished(workdir)
    assert run.mesh.size == 1
    assert json.loads(file.read_text()) == said, 'and its folder is left as it is'


GIVEN = {'stages': ('sft',), 'tokenizer.kind': 'file'}


def given(finished, **changes):
    base = finished / 'pretrain' / 'base'
    paths = {'model.path': str(base), 'tokenizer.path': str(base / 'tokenizer')}
    return {**GIVEN, **paths, **changes}


def test_a_base_brings_its_tokenizer(finished, tmp_path):
    run = begin(tmp_path / 'run', **given(finished))
    assert run.tokenizer.size == 420
    Bytes().save(tmp_path / 'bytes')
    for other in (
        {'tokenizer.kind': 'bytes'},
        {'tokenizer.path': str(tmp_path / 'bytes')},
    ):
        with pytest.raises(UserError, match=r'not the one that the base of .* was tr'):
            begin(tmp_path / 'other', **given(finished, **other))


def test_the_window_is_that_of_the_base(finished, tmp_path):
    long = {'lengths.prompt': 600, 'model.max_length': 2000}
    for see in (opening.begin_run, check.check):
        with pytest.raises(UserError, match=r'longer than model\.max_length 64'):
            see(runs.config(**given(finished, **long)), tmp_path / 'run')


def test_a_check_misses_a_base(finished, tmp_path):
    config = runs.config(stages=('sft', 'reward', 'policy'))
    with pytest.raises(UserError, match='no base is given'):
        check.check(config, tmp_path / 'run')
    workdir = runs.copy(finished, tmp_path / 'there', ('pretrain',))
    assert check.check(config, workdir)['stages'].keys() == {'sft', 'reward', 'policy'}
    shutil.rmtree(workdir)


@pytest.mark.parametrize(
    ('edit', 'says'),
    [
        ({'seed': 'one'}, r"seed: 'one' \(str\) is not a whole number"),
        ({'seed': 2**70}, r'seed: 1180591620717411303424 must be 0 or more and less'),
        ({'stages': 5}, r'stages: 5 \(int\) is not a list'),
        ({'stages': [['sft']]}, r'stages\[0\]: \[?.*is not text'),
        ({'lengths': {'prompt': 16}}, r'lengths\.response is missing'),
        ({'mesh': None}, r'mesh: None is one value, not a section'),
        ({'sft': {}}, r'sft\.kind is missing'),
        ({'modle': {}}, r"modle is unknown; did you mean 'model'\?"),
        ({'a.b': 1}, r'config: .*dots'),
    ],
    ids=str,
)
def test_a_saved_config_that_was_edited(finished, tmp_path, edit, says):
    """One line, wherever a run is opened by its folder."""
    workdir = runs.clone(finished, tmp_path / 'run')
    saved = json.loads((workdir / 'config.json').read_text())
    (workdir / 'config.json').write_text(json.dumps(saved | edit))
    with pytest.raises(UserError, match=says):
        opening.open_finished(workdir)


def test_a_config_of_another_version(finished, tmp_path):
    """It is told from which file, and what may be done."""
    workdir = runs.clone(finished, tmp_path / 'run')
    saved = json.loads((workdir / 'config.json').read_text())
    del saved['model']['family']
    saved['sft']['keep_best'] = False
    (workdir / 'config.json').write_text(json.dumps(saved))
    says = r'config\.json: model\.family is missing.*of another version'
    with pytest.raises(UserError, match=says):
        opening.open_finished(workdir)
    with pytest.raises(UserError, match=r'sft\.keep_best: was False, is None'):
        runs.run(runs.config('pair=1'), workdir)


@pytest.mark.parametrize(
    'edit',
    [
        lambda stage, other: shutil.copytree(other, stage, dirs_exist_ok=True),
        lambda stage, other: rewrite(stage / 'adapter.json', shift=3.0),
        lambda stage, other: rewrite(stage / 'adapter.json', role='policy'),
    ],
    ids=['the adapter of another stage', 'its shift', 'its role'],
)
def test_what_a_stage_made_was_exchanged(finished, tmp_path, edit):
    """Every command that opens a run by its folder notices it."""
    workdir = runs.clone(finished, tmp_path / 'run')
    edit(workdir / 'reward' / 'adapter', finished / 'reward_full' / 'adapter')
    says = r'adapter\.json is not what the stage reward has made; put that back, or'
    with pytest.raises(UserError, match=says):
        opening.open_finished(workdir)


def rewrite(file, **changes):
    values = json.loads(file.read_text())
    del values['checksum']
    file.write_text(json.dumps(values | changes))


def test_what_a_stage_made_may_be_gone(finished, tmp_path):
    """A folder may be thinned out: what is left is still evaluated."""
    workdir = runs.clone(finished, tmp_path / 'run')
    shutil.rmtree(workdir / 'reward_full' / 'adapter')
    assert opening.open_finished(workdir).reward_role('reward')


def test_a_valid_edit_of_the_config_is_told(finished, tmp_path, capfd):
    workdir = runs.clone(finished, tmp_path / 'run')
    assert opening.open_finished(workdir) and not capfd.readouterr().err
    config = json.loads((workdir / 'config.json').read_text())
    config['reward']['label_smoothing'] = 0.25
    (workdir / 'config.json').write_text(json.dumps(config))
    assert opening.open_finished(workdir)
    assert capfd.readouterr().err == (
        'reward: since it was trained: config.reward.label_smoothing: was 0.0, '
        'is 0.25\n'
    )


def test_a_base_that_is_not_there_is_said_before_its_tokenizer(tmp_path):
    config = runs.config(stages=('sft',))
    config.model.path = config.tokenizer.path = str(tmp_path / 'gone')
    config.tokenizer.kind = 'file'
    with pytest.raises(UserError, match=r'model.path: .*gone is not there; give a'):
        opening.begin_run(config, tmp_path / 'run')


def test_a_base_without_rows_for_special_tokens_of_other_uses(tmp_path):
    made = tokenizer_files.byte_level()
    rows = made.get_vocab_size()
    made.add_special_tokens(['<image>'])
    tokenizer = Json(made.to_str(), **tokenizer_files.SPECIAL)
    config = configs.experiment('x')
    config.model.path = str(tmp_path)
    config.lengths.update(prompt=8, response=8)
    own = foreign.CONFIG | {'vocab_size': rows}
    foreign.write(tmp_path, foreign.arrays(own), config=own)
    arch = describe_base(config, tokenizer)
    assert (arch.vocabulary, arch.pieces) == (rows, rows)
    assert arch.holes == () and arch.padding == 0
    settings = json.loads(made.to_str())
    vocabulary = settings['model']['vocab']
    piece = next(x for x, number in vocabulary.items() if number == 200)
    settings['model']['merges'] = [
        pair for pair in settings['model']['merges'] if ''.join(pair) != piece
    ]
    del vocabulary[piece]
    holed = Json(json.dumps(settings), **tokenizer_files.SPECIAL)
    assert holed.holes == (200,) and holed.decode([200]) == ''
    arch = describe_base(config, holed)
    assert arch.holes == (200,) and arch.padding == 1
    made.add_tokens(['<plain>'])
    tokenizer = Json(made.to_str(), **tokenizer_files.SPECIAL)
    with pytest.raises(UserError, match=f'it has {rows + 2} ids, the base'):
        describe_base(config, tokenizer)
