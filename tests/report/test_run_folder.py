import json

import pytest

from perl.report import run_folder
from perl.report.run_folder import read
from perl.system import metrics, results
from perl.system.errors import UserError


@pytest.fixture
def workdir(tmp_path):
    config = {
        'stages': ['policy', 'tuned', 'warp'],
        'policy': {'kind': 'policy', 'reward': 'rm'},
        'tuned': {'kind': 'dpo', 'reward': 'rm'},
        'warp': {'kind': 'average', 'of': ['policy', 'tuned']},
        'loop': {'kind': 'average', 'of': ['loop']},
    }
    (tmp_path / 'config.json').write_text(json.dumps(config))
    for stage in ('warp', 'tuned', 'policy', 'later'):
        results.write(tmp_path, stage, {'seconds': 10.0, 'evaluation_seconds': 2.0})
    out = metrics.Metrics(tmp_path / 'policy')
    for step in range(1, 25):
        out.write(step, {'seconds_rollout': 0.25, 'seconds_update': 0.125})
    return tmp_path


def test_stages_are_in_the_order_of_the_config(workdir):
    run = read(workdir)
    assert run.stages() == ['policy', 'tuned', 'warp', 'later']
    assert run.stages('dpo') == ['tuned'] and run.kind('sft_long') == 'sft'


def test_what_a_policy_was_trained_by(workdir):
    run = read(workdir)
    assert run.trained_by('policy') == run.trained_by('warp') == 'rm'
    assert run.trained_by('tuned') == '', 'the reward of DPO only judges'
    assert run.trained_by('loop') == run.trained_by('none') == ''


def test_phases_add_up_to_the_seconds(workdir):
    run = read(workdir)
    phases = run_folder.phases(run, 'policy')
    assert phases == {'rollout': 6.0, 'update': 3.0, 'other': 1.0, 'evaluation': 2.0}
    assert run_folder.seconds(run, 'policy') == 12.0
    assert run_folder.phases(run, 'tuned') == {'training': 10.0, 'evaluation': 2.0}


@pytest.mark.parametrize('name', ['config.json', 'results.json', 'sittings.jsonl'])
@pytest.mark.parametrize('text', ['{"a": [1\n', '[1]\n', '\xff\n', '[' * 9999 + '\n'])
def test_what_is_broken_is_noted(workdir, name, text):
    (workdir / name).write_bytes(text.encode('latin-1'))
    run = read(workdir)
    assert len(run.notes) == 1 and name in run.notes[0]


def test_a_file_that_cannot_be_read_is_an_error(workdir):
    run_folder.check(workdir)
    with (workdir / 'policy' / metrics.METRICS).open('a') as file:
        file.write('{"step": 25, \n')
    with pytest.raises(UserError, match=r'^.*/policy/metrics\.jsonl: line 25 is not a'):
        run_folder.check(workdir)
