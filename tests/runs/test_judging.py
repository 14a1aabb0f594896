"""Every judge by its name, from one function; and what is found before training."""

import dataclasses
import json
import pathlib

import chat
import numpy as np
import pytest
import runs

from perl import evaluate, judges
from perl.evaluation import best_of_n
from perl.judges import names
from perl.runs import judging, opening
from perl.runs.judging import Settings, open_judge, open_reward
from perl.system.errors import UserError

FUNCTION = 'def brief(prompts, responses):\n    return [-len(x) for x in responses]\n'


@pytest.fixture(scope='module')
def run(finished, tmp_path_factory):
    """A finished run, opened."""
    workdir = tmp_path_factory.mktemp('judging') / 'run'
    return opening.open_finished(runs.clone(finished, workdir))


@pytest.fixture
def brief(tmp_path, monkeypatch):
    """The name of a function in the working directory that likes short responses."""
    module = f'rewards_of_{tmp_path.name}'.replace('-', '_')
    (tmp_path / f'{module}.py').write_text(FUNCTION)
    monkeypatch.chdir(tmp_path)
    return f'{module}:brief'


def texts(run):
    """Prompts of the test split with two responses each, one of them empty."""
    rows = run.dataset.comparisons['test'][:5]
    firsts, seconds = zip(*(row.completions for row in rows), strict=True)
    return [row.prompt for row in rows], [*firsts[:-1], ''], list(seconds)


def test_a_reward_model_of_texts_gives_the_rewards_of_its_tokens(run):
    """Through a batch in `examples.encode`'s layout, which learns from the same ids."""
    from perl.evaluation.reward_task import reward_task

    judge = open_judge('reward', run)
    prompts, firsts, seconds = texts(run)
    rows = run.dataset.comparisons['test'][:4]
    role = run.reward_role('reward')
    raw = reward_task(run, 'reward').scores(role, run.encoded(rows))
    want = (raw - role.shift) / role.scale
    for place, responses in enumerate((firsts, seconds)):
        got = judge.reward(prompts[:4], responses[:4])
        np.testing.assert_allclose(got, want[:, place], atol=1e-5)
    assert np.isfinite(judge.reward(prompts, firsts)).all(), 'an empty one has one too'
    assert judge.panel is not None and judge.name == 'reward'
    prefers = judge.preference(prompts[:4], firsts[:4], seconds[:4])
    np.testing.assert_array_equal(prefers, want[:, 0] > want[:, 1])


def test_a_reward_model_by_its_folder(run):
    folder = str(run.workdir / 'reward' / 'adapter')
    prompts, firsts, _ = texts(run)
    one, other = (open_judge(name, run).reward for name in ('reward', folder))
    np.testing.assert_array_equal(one(prompts, firsts), other(prompts, firsts))


def test_the_exact_reward(run):
    judge = open_judge('gold', run)
    prompts, firsts, _ = texts(run)
    want = list(map(run.dataset.gold, prompts, firsts))
    assert judge.reward(prompts, firsts).tolist() == want


def test_a_function(brief):
    judge = open_judge(brief)
    assert judge.name == brief and judge.panel is None
    assert judge.reward(['p', 'q'], ['a', 'bb']).tolist() == [-1, -2]
    assert judge.preference(['p'], ['a'], ['bb']).tolist() == [1]


def test_a_model_and_an_endpoint_answer_both_questions(run):
    with chat.serve(lambda *_: chat.Reply('1')) as server:
        judge = open_judge('endpoint', settings=Settings(url=server.url, model='m'))
        assert judge.preference(['p'], ['a'], ['b']).tolist() == [1]
        assert judge.reward(['p'], ['a']).tolist() == [-1], '1 of 10'
    assert judge.report()['requests'] == 2
    model = open_judge('model', run, Settings('brief', model='sft'))
    assert 0 < model.preference(['p'], ['a'], ['b'])[0] < 1


def test_recorded_answers_of_either_kind(tmp_path):
    rating = {'prompt': 'p', 'response': 'a', 'score': 2}
    pair = {'prompt': 'p', 'first': 'a', 'second': 'b', 'verdict': 1}
    opened = []
    for name, row in (('a', rating), ('b', pair)):
        (tmp_path / name).write_text(json.dumps(row) + '\n')
        file = Settings(file=str(tmp_path / name))
        opened.append(open_judge('recorded', settings=file))
    ratings, pairs = opened
    assert ratings.reward(['p'], ['a']).tolist() == [2] and pairs.reward is None
    assert pairs.preference(['p'], ['b'], ['a']).tolist() == [0]


def test_the_annotators_only_compare(run):
    judge = open_judge('annotators', settings=Settings(flip=0.0))
    assert set(judge.preference(*texts(run))) <= {0, 0.5, 1}
    with pytest.raises(UserError, match='annotators compares two responses'):
        judges.scores(judge)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('rewrd', r"no judge 'rewrd'.*did you mean 'reward'\?"),
        ('gld', "did you mean 'gold'"),
        ('nowhere:f', 'there is no module nowhere'),
        ('sft', 'sft: it makes a policy, so it is not a reward model'),
        ('endpoint', 'needs its address'),
        ('recorded', 'need the file'),
    ],
)
def test_names_of_nobody(run, name, words):
    with pytest.raises(UserError, match=words):
        open_judge(name, run)


@pytest.mark.parametrize('name', ['gold', 'model', 'reward'])
def test_those_that_need_a_run(name):
    with pytest.raises(UserError, match='run'):
        open_judge(name)


def test_every_name_is_in_the_table():
    assert judging._OPEN.keys() == names.KNOWN.keys() >= names.LANGUAGE.keys()
    assert all(f'| `{name}` |' in judging.__doc__ for name in names.KNOWN)


def test_a_broken_reward_model_is_no_missing_verdict(run, monkeypatch):
    role = run.reward_role('reward')
    broken = dataclasses.replace(role, scale=float('nan'))
    monkeypatch.setattr(type(run), 'reward_role', lambda self, name: broken)
    with pytest.raises(UserError, match='reward: the reward model gives a reward that'):
        open_judge('reward', run).reward(['p'], ['a'])


def test_a_function_as_judge_and_in_best_of_n(run, brief):
    judge = open_judge(brief, run)
    figures = evaluate.evaluate(run, judge=judge)['policy against sft']
    assert figures['judge'] == brief and figures['unanswered'] == 0
    gold = evaluate.evaluate(run, judge='gold')['policy against sft']
    assert figures['reward_after'] == gold['reward_after'], 'by what trained the policy'
    curves = best_of_n.best_of_n(run, run.role('sft'), judge, 'test', 4)['curves']
    gains = curves['reward']['gain']
    assert gains[0] == 0 < gains[1] < gains[2], 'the shortest of more is shorter'


def test_a_reward_without_a_verdict_is_left_out_of_a_mean(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path('half_silent.py').write_text(
        'def score(prompts, responses):\n'
        '    return [None if i % 2 else 3.0 for i in range(len(responses))]\n'
    )
    from perl.evaluation.compare import compare

    sft, judge = run.role('sft'), open_judge('half_silent:score')
    figures, _ = compare(run, sft, sft, judge, 'test')
    assert figures['reward_before'] == figures['reward_after'] == 3.0
    assert figures['judge'] == 'gold'


def test_the_reward_of_a_stage_must_score(run, monkeypatch):
    config = run.config.copy_and_resolve_references().unlock()
    config.policy.reward = 'annotators'
    monkeypatch.setattr(run, 'config', config.lock())
    with pytest.raises(UserError, match='does not score a single one'):
        open_reward(run, 'policy')
