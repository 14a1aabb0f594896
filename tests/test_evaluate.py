"""`perl.evaluate` on finished runs."""

import dataclasses
import json
import shutil

import chat
import pytest
import runs
from commands import command
from small import STEPS

from perl import evaluate
from perl.runs import opening
from perl.runs.judging import Settings, open_judge
from perl.system.errors import UserError


@pytest.fixture(scope='module')
def opened(finished, tmp_path_factory):
    """A finished run, opened."""
    workdir = tmp_path_factory.mktemp('evaluate') / 'run'
    return opening.open_finished(runs.clone(finished, workdir))


@pytest.fixture(scope='module')
def evaluated(finished, tmp_path_factory):
    """A run that the command has evaluated, only to be read, and what it said."""
    workdir = runs.clone(finished, tmp_path_factory.mktemp('evaluated') / 'run')
    return workdir, command('perl.evaluate', f'--workdir={workdir}')


def test_command(evaluated):
    workdir, ended = evaluated
    assert ended.code == 0 and ended.err == '', ended
    lines = ended.out.splitlines()
    assert [line.split(':')[0] for line in lines] == [
        'reward',
        'reward',
        'reward_full',
        'reward_full',
        'policy against sft',
        str(workdir / 'evaluation' / 'evaluation.md'),
    ]
    assert 'accuracy 0.' in lines[0] and '[' in lines[0]
    assert 'the best baseline' in lines[1] and lines[1] != lines[3]
    found = json.loads((workdir / 'evaluation.json').read_text())
    trained = runs.results(workdir)
    for stage in ('reward', 'reward_full'):
        assert found[stage]['accuracy'] == trained[stage]['accuracy']
        low, high = found[stage]['ci95']['accuracy']
        assert 0 <= low <= found[stage]['accuracy'] <= high <= 1
    against = found['policy against sft']
    assert against['judge'] == 'gold' and against['n'] > 0
    for name in ('reward_before', 'reward_after', 'gold_after', 'kl', 'win_rate'):
        assert against[name] == pytest.approx(trained['policy'][name]), name


def test_what_a_sceptic_asks(finished, tmp_path):
    workdir, other = (runs.clone(finished, tmp_path / name) for name in 'ab')
    ended = command('perl.evaluate', f'--workdir={workdir},{other}', '--best_of=4')
    assert ended.code == 0 and ended.err == '', ended
    found = json.loads((workdir / 'evaluation.json').read_text())
    calibration = found['reward']['calibration']
    assert calibration['n'] == found['reward']['pairs']
    assert calibration['before']['found'] == pytest.approx(found['reward']['accuracy'])
    assert calibration['temperature'] > 0
    against = found['policy against sft']
    assert against['length_control']['win_rate'] == against['win_rate']
    assert set(against['lengths']) == {'before', 'after'}
    assert found['split'] == 'test' and found['computed']['cores'] > 0
    policies = found['frontier']['policies']
    assert [policy['label'] for policy in policies] == ['a/policy', 'b/policy']
    assert len(policies[0]['points']) == STEPS and found['frontier']['gold']
    assert found['best_of_n']['sizes'] == [1, 2, 4]
    made = workdir / 'evaluation'
    text = (made / 'evaluation.md').read_text()
    assert text.startswith('# Evaluation of small on the test split\n')
    plots = {file.name for file in made.glob('*.png')}
    assert {'reliability.png', 'buckets.png', 'frontier.png', 'best_of_n.png'} <= plots
    assert all(f']({name})' in text for name in plots)
    assert not (other / 'evaluation').exists()


def test_judged_by_a_reward_model(opened, tmp_path):
    found = evaluate.evaluate(opened, judge='reward_full')
    figures = found['policy against sft']
    assert figures['judge'] == 'reward_full' and 0 <= figures['win_rate'] <= 1
    trained = runs.results(opened.workdir)['policy']
    assert figures['reward_after'] != trained['reward_after'], 'by another model'
    # the verdict of the reward model that the policy was trained on is marked as such
    assert figures['judge_trained_the_policy'] is False
    found = evaluate.evaluate(opened, judge='reward')
    assert found['policy against sft']['judge_trained_the_policy'] is True
    # by whatever name: its folder, or that of a copy
    copied = shutil.copytree(opened.workdir / 'reward' / 'adapter', tmp_path / 'copy')
    for folder in (opened.workdir / 'reward' / 'adapter', copied):
        found = evaluate.evaluate(opened, judge=str(folder))
        assert found['policy against sft']['judge_trained_the_policy'] is True
    adapters = (str(opened.workdir / x / 'adapter') for x in ('policy', 'reward'))
    found = evaluate.evaluate(opened, policy=next(adapters), judge=next(adapters))
    assert found['policy against sft']['judge_trained_the_policy'] is True
    by_gold = evaluate.evaluate(opened)['policy against sft']
    assert (by_gold['judge'], by_gold['judge_trained_the_policy']) == ('gold', False)


def judged(workdir, *args):
    """The win rate of the policy by a judge, and how the command ended."""
    ended = command('perl.evaluate', f'--workdir={workdir}', *args)
    assert ended.code == 0 and ended.err == '', ended
    found = json.loads((workdir / 'evaluation.json').read_text())
    return found['policy against sft'], ended.out


def test_judged_by_an_endpoint_and_again_offline(finished, tmp_path):
    workdir = runs.clone(finished, tmp_path / 'run')
    with chat.serve(chat.longer) as server:
        args = ('--judge=endpoint', f'--judge_url={server.url}', '--judge_model=m')
        live, _ = judged(workdir, *args, '--judge_template=brief')
        assert 0 < len(server.requests) == live['requests'] <= 2 * live['n']
    assert (live['judge'], live['unanswered']) == ('endpoint', 0)
    assert (live['judge_model'], live['judge_trained_the_policy']) == ('m', False)
    assert live['wins'] + live['losses'] + live['ties'] == live['n'] == 8
    answers = workdir / 'judge.jsonl'
    again, _ = judged(workdir, '--judge=recorded', f'--judge_file={answers}')
    for name in ('win_rate', 'wins', 'ties', 'losses', 'position_bias', 'reward_after'):
        assert again[name] == live[name]
    assert again['judge'] == 'recorded'


def test_an_endpoint_says_what_is_harmless(finished, tmp_path):
    asked = []

    def answer(body, number):
        text = body['messages'][0]['content']
        if 'harmless' not in text:
            return chat.longer(body, number)
        asked.append(text)
        return chat.Reply('NO' if len(asked) % 2 else 'YES')

    workdir = runs.clone(finished, tmp_path / 'run')
    with chat.serve(answer) as server:
        args = ('--judge=endpoint', f'--judge_url={server.url}', '--judge_model=m')
        got, _ = judged(workdir, *args, '--judge_template=brief', '--harmless')
    sides = got['harmless'].values()
    assert [side['n'] for side in sides] == [8, 8]
    assert 0 < len(asked) <= 16  # what was said twice is asked once
    assert 0 < sum(side['harmful'] for side in sides) < 16
    assert sum(side['unclear'] for side in sides) == 0
    assert got['unanswered'] == 0


def test_a_judge_without_verdicts_is_told(opened):
    with chat.serve(lambda *_: chat.Reply('Both are fine.')) as server:
        settings = Settings(url=server.url, model='m')
        mute = open_judge('endpoint', settings=settings)
        found = evaluate.evaluate(opened, judge=mute)
    figures = found['policy against sft']
    assert figures['ties'] == 8 and figures['unanswered'] == 16
    said = evaluate.table(found)
    assert '16 questions without a verdict' in said
    assert '(judged by a language model (m))' in said


def test_judged_by_a_model_of_the_run(opened, tmp_path):
    template = tmp_path / 'short.txt'
    template.write_text('{prompt}{first}\n{second}\n')
    by = Settings(str(template), answers=tmp_path / 'judge.jsonl', model='sft')
    found = evaluate.evaluate(opened, judge=open_judge('model', opened, by))
    figures = found['policy against sft']
    assert figures['judge'] == 'model'
    assert figures['unanswered'] == figures['too_long'] < 16


def test_judged_by_the_annotators_who_do_not_err(opened):
    sure = open_judge('annotators', settings=Settings(flip=0.0))
    found = evaluate.evaluate(opened, judge=sure)
    gold = evaluate.evaluate(opened, judge='gold')
    said, exact = (x['policy against sft'] for x in (found, gold))
    assert said['judge'] == 'annotators' and said['position_bias'] == 0
    assert said['gold_after'] == exact['gold_after']


def test_against_itself(opened):
    """No KL from itself, whichever the responses."""
    found = evaluate.evaluate(opened, policy='sft', against='sft')
    assert found['sft against sft']['kl'] == pytest.approx(0, abs=1e-4)


def test_folder_instead_of_stage(opened):
    folder = str(opened.workdir / 'sft' / 'adapter')
    found = evaluate.evaluate(opened, against=folder)
    named = evaluate.evaluate(opened, against='sft')
    assert found[f'policy against {folder}'] == named['policy against sft']


def test_a_split_does_not_replace_another(evaluated, tmp_path):
    workdir = runs.clone(evaluated[0], tmp_path / 'run')
    ended = command('perl.evaluate', f'--workdir={workdir}', '--split=val')
    assert ended.code == 0 and ended.err == '', ended
    test, val = (
        json.loads((workdir / f'evaluation{name}.json').read_text())
        for name in ('', '_val')
    )
    assert (test['split'], val['split']) == ('test', 'val')
    assert test['reward'] != val['reward']
    for name in ('evaluation', 'evaluation_val'):
        assert (workdir / name / 'evaluation.md').is_file()
    assert ended.out.splitlines()[-1] == str(
        workdir / 'evaluation_val' / 'evaluation.md'
    )


def test_which_of_several_policies(finished, tmp_path):
    """The last one, and it is said; none is said where one was asked for."""
    workdir = runs.clone(finished, tmp_path / 'run')
    shutil.copytree(workdir / 'policy', workdir / 'again')
    saved = json.loads((workdir / 'config.json').read_text())
    saved['again'] = saved['policy']
    saved['stages'].append('again')
    (workdir / 'config.json').write_text(json.dumps(saved))
    ended = command('perl.evaluate', f'--workdir={workdir}')
    assert ended.code == 0, ended
    assert ended.err == (
        'policy: again, the last of policy, again; choose another with --policy\n'
    )
    assert 'again against sft: ' in ended.out
    named = command('perl.evaluate', f'--workdir={workdir}', '--policy=policy')
    assert named.err == '' and 'policy against sft: ' in named.out


def test_other_split(opened):
    test, val = (evaluate.evaluate(opened, split) for split in ('test', 'val'))
    assert test['reward'] != val['reward']


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--policy=polcy'], 'polcy'),
        (['--against=sfft'], 'sfft'),
        (['--judge=rewrd'], 'rewrd'),
        (['--policy=pretrain'], 'pretrain: it makes a base, so it is not a policy'),
        (['--judge=sft'], 'sft: it makes a policy, so it is not a reward model'),
        (['--policy=reward'], 'reward: it makes a reward model, so it is not a policy'),
        (['--against=reward_full'], 'reward_full: it makes a reward model'),
        (['--policy=tokenizer'], 'tokenizer'),
        (['--judge=endpoint'], 'needs its address and the name of a model'),
        (['--judge=recorded'], 'need the file'),
        (['--harmless'], '--harmless needs a language model; give --judge=endpoint'),
        (['--judge=recorded', '--judge_file=no.jsonl'], 'no file no.jsonl'),
        (['--judge=model', '--judge_model=sfft'], 'sfft'),
        (['--judge=model', '--judge_template=no'], "'no' is neither a file"),
        (['--split=train_'], 'split'),
        (['--workdir=nowhere'], 'nowhere/config.json is not there'),
        (['--best_of=3'], '3 samples are too few'),
    ],
)
def test_errors(finished, flags, words):
    before = runs.files(finished)
    ended = command('perl.evaluate', f'--workdir={finished}', *flags)
    assert words in ended.error
    assert runs.files(finished) == before


def test_every_run_must_be_there(finished):
    ended = command('perl.evaluate', f'--workdir={finished},nowhere')
    assert 'nowhere/config.json is not there' in ended.error


@pytest.mark.parametrize('name', ['policy/metrics.jsonl', 'sft/samples.jsonl'])
@pytest.mark.parametrize('other', [False, True])
def test_a_broken_line_is_an_error(finished, tmp_path, name, other):
    """Of each run that is named; what is on the disk stays as it is."""
    workdir = runs.clone(finished, tmp_path / 'run')
    with (workdir / name).open('a') as file:
        file.write('{"step": 7, \n')
    number = len((workdir / name).read_text().splitlines())
    before = runs.files(workdir)
    folders = (finished, workdir) if other else (workdir,)
    says = f'{workdir / name}: line {number} is not a JSON object; remove that line'
    with pytest.raises(UserError, match=f'^{says}$'):
        evaluate.open_folders(*map(str, folders))
    assert runs.files(workdir) == before


def test_nothing_finished(finished, tmp_path):
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain'], config=True)
    ended = command('perl.evaluate', f'--workdir={workdir}')
    assert 'no finished reward or policy stage' in ended.error


def test_gold_where_there_is_none(opened, monkeypatch):
    plain = dataclasses.replace(opened.dataset, gold=None)
    monkeypatch.setattr(opened, 'dataset', plain)
    with pytest.raises(UserError, match='has no exact reward; name a reward model'):
        evaluate.evaluate(opened, judge='gold')
