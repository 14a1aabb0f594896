"""Promise 9: one clear line, a non-zero exit, and what is on the disk stays."""

import functools
import json
import shutil

import pytest
import runs
from commands import command, launch, starve
from runs import config, copy, run

from perl.data.tokenizers import Bytes

DONE = ('pretrain', 'sft', 'reward')


@pytest.fixture
def workdir(finished, tmp_path):
    """A run whose policy is to be trained yet."""
    return copy(finished, tmp_path / 'run', DONE)


def refused(workdir, *args, arg='', before=None):
    """The error of a command that must not harm what was there."""
    files = runs.files(workdir)
    ended = launch(workdir, *args, arg=arg, before=before)
    now = runs.files(workdir)
    assert files.items() <= now.items(), 'something that was there has changed'
    return ended.error


@pytest.mark.parametrize(
    ('args', 'said'),
    [
        (['--config.sft.stepz=3'], ['--config.sft.stepz is unknown', "'steps'"]),
        (['--config.data.txt=1'], ["data.txt is unknown; did you mean 'text'?"]),
        (['--config.sft.tuning.nme=lora'], ['tuning.nme is unknown', "'name'"]),
        (['--config.stags=x'], ["--config.stags is unknown; did you mean 'stages'?"]),
        (['--noconfig.tensorbord'], ['tensorbord is unknown', "'tensorboard'"]),
        (
            ['--config.sft.steps.x=1'],
            ['sft.steps.x is unknown', 'no settings below it'],
        ),
        (['--config.name.x=1'], ['config.name.x is unknown', 'no settings below it']),
        (['--config.stages=,sft'], ["--config.stages: ',sft' has an empty name"]),
        (['--config.stages[9]=sft'], ['config.stages[9] is unknown', "'stages'"]),
        (['--check', 'steps=3'], ["'steps=3' is not a flag; write --name=value"]),
        (
            ['--config.sft.steps=many'],
            ["error: --config.sft.steps: 'many' is not a whole number"],
        ),
        (
            ['--config.sft.learning_rate=0.1'],
            ["is unknown; did you mean 'sft.optimizer.learning_rate'?"],
        ),
        (['--config.policy.lr=1'], ["did you mean 'policy.optimizer.learning_rate'?"]),
        (
            ['--config.policy.zzz=1'],
            ['zzz is unknown; choose one of algorithm, batch_size, ', ' others'],
        ),
        (['--config.sft.steps=0'], ['sft.steps: 0 must be greater than 0']),
        (['--config.policy.algorithm=pppo'], ['policy.algorithm', "'ppo'"]),
        (['--config.sft.tuning.name=lorra'], ['error: sft.tuning.name', 'full, lora']),
        (['--config.sft.optimizer.name=adam'], ['optimizer.name', 'adamw']),
        (['--config.tokenizer.kind=file'], ['tokenizer.path']),
        (['--config.lengths.prompt=60'], ['longer than model.max_length 64']),
        (['--config.mesh.data=3'], ['batch', 'divide', '3', 'multiple']),
        (['--config.mesh.data=16'], ['needs 16 devices, there are 8']),
        (['--config.policy.minibatches=3'], ['3 does not divide batch_size 8']),
        (['--config.policy.micro_batches=3'], ['policy.micro_batches', '4 rows']),
        (['--config.data.name=reservation'], ['reservation', "'reservations'"]),
        (['--config.data.text=-1'], ['reservations: a size is negative']),
        (['--config.policy.reward=nowhere'], ['nowhere', 'neither an earlier stage']),
        (['--config.model.path=nowhere'], ['model.path']),
        (
            ['--config.policy.tuning.rank=4'],
            ['policy.tuning', 'make the two alike'],
        ),
        (['--stages=rewrd'], ["'rewrd'", "'reward'"]),
        (
            ['--stages=policy', '--config.stages=pretrain,sft,reward'],
            [
                "--stages: 'policy' is not among the stages that this config runs "
                '(pretrain, sft, reward); add it with '
                '--config.stages=pretrain,sft,reward,policy'
            ],
        ),
        (
            ['--stags=reward'],
            ["--stags is not a flag; did you mean '--stages'?"],
        ),
        (
            ['--config.stages=pretrain,sft,polcy'],
            ["stages: 'polcy' is not a stage of this config; did you mean 'policy'?"],
        ),
        (['--config=nowhere.py'], ['nowhere.py']),
    ],
    ids=lambda x: x[0] if isinstance(x, list) and x[0].startswith('--') else '',
)
def test_bad_setting(workdir, args, said):
    error = refused(workdir, *args)
    for words in said:
        assert words in error


def test_rule_that_matches_nothing(workdir):
    error = refused(workdir, "--config.policy.tuning.targets=('layers/atention/q',)")
    assert 'error: policy.tuning.targets' in error and 'matches nothing' in error
    assert 'layers/attention/q' in error


def test_unknown_argument_of_a_config(tmp_path):
    ended = command(
        'perl.train', '--config=configs/quickstart.py:rnk=3', f'--workdir={tmp_path}'
    )
    assert "'rnk' is unknown; did you mean 'rank'" in ended.error


def test_unknown_study(tmp_path):
    ended = command(
        'perl.train', '--config=configs/study.py:study=rank', f'--workdir={tmp_path}'
    )
    assert "no study 'rank'; did you mean 'ranks'? Choose one of algo" in ended.error


def test_no_config_at_all(tmp_path):
    assert '--config' in command('perl.train', f'--workdir={tmp_path}').error


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('import nowhere\n', 'nowhere'),
        ('x = (\n', 'line 1'),
        ('x = 3\n', 'get_config'),
        ('def get_config(arg=None):\n    return {}["x"]\n', "KeyError: 'x'"),
    ],
)
def test_broken_config_file(tmp_path, text, said):
    file = tmp_path / 'broken.py'
    file.write_text(text)
    ended = command('perl.train', f'--config={file}', f'--workdir={tmp_path / "run"}')
    assert 'broken.py' in ended.error and said in ended.error


def test_config_of_another_run(workdir):
    (workdir / 'config.json').write_text(
        json.dumps(json.loads(config().to_json_best_effort()))
    )
    changes = ('--config.sft.steps=7', '--config.policy.steps=7', '--config.seed=3')
    error = refused(workdir, *changes)
    assert 'sft.steps: was 6, is 7' in error and 'seed: was 0, is 3' in error
    assert 'policy' not in error, 'it has not begun and may change'
    assert '--workdir' in error


@pytest.mark.parametrize('name', ['config.json', 'results.json'])
def test_damaged_json(workdir, name):
    (workdir / name).write_text('{"half": ')
    assert f'{workdir / name}' in refused(workdir)


def test_workdir_is_a_file(tmp_path):
    file = tmp_path / 'file'
    file.write_text('mine')
    ended = launch(file)
    assert str(file) in ended.error and file.read_text() == 'mine'


@pytest.fixture
def tables(tmp_path):
    return runs.write_tables(tmp_path / 'data')


@pytest.mark.parametrize(
    ('kind', 'row', 'said'),
    [
        ('demonstrations', None, ['there is no file']),
        ('demonstrations', '', ['has no rows']),
        ('demonstrations', '{"prompt": "a", "resp', ['line 65 is not JSON']),
        (
            'demonstrations',
            '{"prompt": "a", "response": " "}',
            ['line 65', "'response'", 'empty'],
        ),
        (
            'ratings',
            '{"prompt": "a", "response": "b", "label": 7}',
            ['line 129', "'label'", 'not between 0 and 1'],
        ),
        (
            'comparisons',
            '{"prompt": "a", "chosen": "b"}',
            ['line 65', "'rejected'", 'missing'],
        ),
    ],
)
def test_bad_data(tables, tmp_path, kind, row, said):
    file = tables / f'{kind}.jsonl'
    if row is None:
        file.unlink()
    else:
        file.write_text((file.read_text() if row else '') + row + '\n')
    error = launch(tmp_path / 'run', arg=f'files={tables}').error
    for words in (f'{kind}.jsonl', *said):
        assert words in error
    assert not (tmp_path / 'run').exists(), 'nothing is begun with bad data'


def test_no_records_of_a_kind(workdir, tables):
    (tables / 'prompts.jsonl').write_text('{"prompt": "a"}\n' * 3)
    error = refused(workdir, arg=f'files={tables}')
    assert 'policy: files has no prompts in its' in error and 'split' in error


@pytest.fixture(scope='module')
def stranger(tmp_path_factory):
    """The reward adapter of a run with another base."""
    workdir = tmp_path_factory.mktemp('stranger') / 'run'
    changes = {'pretrain.steps': 1, 'reward.steps': 1, 'reward.start': 'base'}
    run(config(stages=('pretrain', 'reward'), seed=1, **changes), workdir)
    return workdir / 'reward' / 'adapter'


def test_adapter_of_another_base(workdir, stranger):
    error = refused(workdir, f'--config.policy.reward={stranger}')
    assert f'{stranger} was trained on the base' in error and 'give the base' in error


def test_tokenizer_of_another_run(workdir):
    shutil.rmtree(workdir / 'tokenizer')
    Bytes().save(workdir / 'tokenizer')
    error = refused(workdir)
    assert 'was trained on the tokenizer' in error


@pytest.mark.parametrize(
    ('name', 'how'),
    [
        ('adapter.safetensors', 'truncated'),
        ('adapter.safetensors', 'deleted'),
        ('adapter.safetensors', 'swapped'),
        ('adapter.safetensors', 'flipped'),
        ('adapter.json', 'truncated'),
        ('adapter.json', 'swapped'),
    ],
)
def test_damaged_adapter(workdir, finished, name, how):
    file = workdir / 'reward' / 'adapter' / name
    if how == 'truncated':
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif how == 'deleted':
        file.unlink()
    elif how == 'flipped':
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    else:
        file.write_bytes((finished / 'reward_full' / 'adapter' / name).read_bytes())
    error = refused(workdir)
    assert str(workdir / 'reward' / 'adapter') in error


@pytest.mark.parametrize('name', ['model.safetensors', 'model.json'])
def test_damaged_base(workdir, name):
    file = workdir / 'pretrain' / 'base' / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert str(workdir / 'pretrain' / 'base') in refused(workdir)


@pytest.mark.parametrize(
    ('place', 'said'),
    [
        ('perl.system.metrics:Metrics.write', 'metrics.jsonl'),
        ('perl.checkpoint.seal.write', 'could not save step 2'),
        ('perl.checkpoint:Checkpoints.save', 'could not save step 2'),
        ('perl.adapters.bundle.save', 'adapter'),
        ('perl.system.results.write', 'results.json'),
        ('perl.report.write', 'could not write the report'),
    ],
)
def test_full_disk(finished, tmp_path, place, said):
    """Whichever file it strikes, the run then goes on to the same end."""
    workdir = copy(finished, tmp_path / 'run', ['pretrain'])
    before = functools.partial(starve, place)
    files = runs.files(workdir)
    files.pop('results.json' if place == 'perl.report.write' else 'config.json', None)
    error = launch(workdir, '--stages=sft', before=before, draw=True).error
    assert 'File too large' in error and said in error
    assert files.items() <= runs.files(workdir).items()
    run(config(), workdir, ['sft'])
    runs.assert_same(workdir, finished, 'sft')


def test_diverging_run_stops(workdir):
    """Every number that is not finite has its name and step."""
    (workdir / 'sft').rename(workdir / 'kept')
    values = {'learning_rate': 1e6, 'weight_decay': 1e6, 'warmup': 0}
    flags = [f'--config.sft.optimizer.{name}={x}' for name, x in values.items()]
    (workdir / 'results.json').write_text('{"pretrain": {}}')
    error = refused(workdir, *flags)
    assert error.startswith('error: sft: ') and 'is not finite at step' in error
    assert 'lower the learning rate' in error
