"""Each kind of algorithm end to end on the small experiment, and its exact resume."""

import json
import math
from unittest import mock

import chat
import pytest
import runs

from perl import config as configs
from perl.config import rules
from perl.stages import table
from perl.stages.policy import iteration
from perl.system.errors import UserError
from perl.system.metrics import read

BEFORE = ('pretrain', 'sft', 'reward')
VARIANTS = {
    'rloo': {'algorithm': 'rloo', 'samples': 2},
    'grpo': {
        'algorithm': 'grpo',
        'samples': 4,
        'kl_in': 'loss',
        'kl_estimator': 'k3',
        'minibatches': 1,
    },
    'cispo': {'algorithm': 'cispo', 'samples': 2, 'overlong_tokens': 2},
    'best_of_n': {'algorithm': 'best_of_n', 'samples': 4, 'kl_coefficient': 0.0},
    'everything': {
        'algorithm': 'ppo',
        'kl_in': 'loss',
        'kl_estimator': 'full',
        'ema_rate': 0.1,
        'entropy_coefficient': 0.01,
        'value_warmup': 1,
        'whiten_rewards': True,
        'clip_rewards': 2.0,
        'ptx_coefficient': 0.5,
        'ptx_batch_size': 8,
    },
}


def experiment(**changes):
    """The small experiment with another policy stage."""
    steps = {'policy.steps': 3, 'policy.save_every': 1}
    return runs.config(**steps, **{f'policy.{k}': x for k, x in changes.items()})


@pytest.fixture(scope='module', params=VARIANTS)
def trained(request, finished, tmp_path_factory):
    """A variant, its folder and its figures."""
    workdir = runs.copy(finished, tmp_path_factory.mktemp(request.param), BEFORE)
    config = experiment(**VARIANTS[request.param])
    return request.param, workdir, runs.run(config, workdir)['policy']


def test_it_trains(trained):
    name, workdir, figures = trained
    rows = read(workdir / 'policy')
    critic = name == 'everything'
    assert figures['algorithm'] == VARIANTS[name]['algorithm']
    assert (workdir / 'policy' / 'value').is_dir() == critic
    assert all(('value_loss' in row) == critic for row in rows)
    assert all(math.isfinite(x) for row in rows for x in row.values())
    assert ('kl' in rows[0]) == (name != 'best_of_n')
    warm = VARIANTS[name].get('value_warmup', 0)
    moved = [row.get('adapter_active', 0) for row in rows]
    assert moved[warm] > 0 and not any(moved[:warm])


def test_what_is_optimised_is_named(trained):
    name, workdir, _ = trained
    row = read(workdir / 'policy')[0]
    said = {k for k in row if k.startswith(('penalty_', 'loss_'))}
    assert (
        said
        == {
            'rloo': {'penalty_k1'},
            'grpo': {'penalty_k3', 'loss_k3'},
            'cispo': {'penalty_k1'},
            'best_of_n': set(),
            'everything': {'penalty_full', 'loss_full'},
        }[name]
    )


@pytest.mark.parametrize('trained', ['grpo', 'everything'], indirect=True)
def test_it_resumes_exactly(trained, finished, tmp_path):
    """Without a critic, and with all the state that there can be."""
    name, workdir, _ = trained
    again = runs.copy(finished, tmp_path, BEFORE)
    config = experiment(**VARIANTS[name])
    with pytest.raises(runs.Killed), runs.dying('policy', 2, runs.killed):
        runs.run(config, again)
    runs.run(config, again)
    runs.assert_same(again, workdir, 'policy')


def test_a_rater_takes_the_place_of_the_reward_model(finished, tmp_path):
    """d-RLAIF: the SFT model scores 1 to 10, and every answer is kept."""
    workdir = runs.copy(finished, tmp_path / 'run', BEFORE)
    judge = {'model': 'sft', 'url': '', 'key_env': ''}
    config = experiment(reward='model', judge=judge).unlock()
    config.model.max_length = 1024  # of a question about a response
    rewards = iteration.training_rewards
    with mock.patch.object(iteration, 'training_rewards', wraps=rewards) as asked:
        figures = runs.run(config.lock(), workdir)['policy']
    kept = (workdir / 'policy' / 'ratings.jsonl').read_text().splitlines()
    assert asked.call_count == 3 and len(kept) > 8
    scores = [rewards(*call.args)[0] for call in asked.call_args_list]
    means = [row['reward'] for row in read(workdir / 'policy')]
    assert means == pytest.approx([float(x.mean()) for x in scores], abs=1e-5)
    assert all(-1 <= x <= 1 for x in means)
    assert 'check_reward' not in read(workdir / 'policy')[0], 'no reward model is run'
    assert -1 <= figures['reward_after'] <= 1 and figures['judge'] == 'gold'


def test_an_endpoint_rewards_and_a_resume_asks_nothing_twice(finished, tmp_path):
    """It answers with the number of words, up to 10; the second half after a kill."""

    def answer(body, number):
        response = body['messages'][0]['content'].rpartition('Response:\n')[2]
        words = len(response.rpartition('\n\nReply')[0].split())
        return chat.Reply(str(min(10, max(1, words))))

    workdir = runs.copy(finished, tmp_path / 'run', BEFORE)
    with chat.serve(answer) as server:
        judge = {'model': 'm', 'url': server.url, 'key_env': ''}
        config = experiment(reward='endpoint', judge=judge)
        with pytest.raises(runs.Killed), runs.dying('policy', 2, runs.killed):
            runs.run(config, workdir)
        figures = runs.run(config, workdir)['policy']
    asked = [json.dumps(body) for body in server.requests]
    assert len(asked) == len(set(asked)) > 8
    rows = read(workdir / 'policy')
    assert all(-1 <= row['reward'] <= 1 and row['no_verdict'] == 0 for row in rows)
    assert -1 <= figures['reward_after'] <= 1


def test_a_steered_coefficient_leaves_reinforce_its_reward(finished, tmp_path):
    """It weighs the reward with 1 - beta: past 1 the policy would unlearn."""
    workdir = runs.copy(finished, tmp_path / 'run', BEFORE)
    config = experiment(
        algorithm='reinforce',
        kl_coefficient=0.999,
        kl_controller='adaptive',
        kl_target=1e-9,
        kl_horizon=8.0,
    )
    runs.run(config, workdir)
    betas = [row['kl_coefficient'] for row in read(workdir / 'policy')]
    assert max(betas) == 1.0


def test_dpo(finished, tmp_path):
    config = runs.config().unlock()
    config.stages = (*BEFORE, 'dpo')
    config.dpo = configs.dpo_config(
        1e-2,
        reward='reward',
        tuning=config.sft.tuning,
        steps=48,
        batch_size=8,
        eval_every=24,
    )
    figures = runs.run(config.lock(), runs.copy(finished, tmp_path, BEFORE))['dpo']
    rows = read(tmp_path / 'dpo')
    losses = [row['loss'] for row in rows]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)
    assert sum(losses[-8:]) / 8 < losses[0]
    assert 0 <= rows[-1]['val_accuracy'] <= 1
    assert {'win_rate', 'kl', 'reward_after', 'gold_after'} <= figures.keys()


@pytest.mark.parametrize(
    'changes, says',
    [
        ({'algorithm': 'rlo'}, "'rlo' is not one of .*; did you mean 'rloo'"),
        ({'algorithm': 'rloo'}, 'samples: rloo compares responses to one prompt'),
        ({'algorithm': 'grpo', 'samples': 3}, 'samples: 3 does not divide batch_size'),
        ({'kl_estimator': 'k4'}, "'k4' is not one of k1"),
        ({'kl_in': 'both'}, "'both' is not one of reward, loss"),
        ({'ema_rate': 2.0}, r'ema_rate: 2.0 must be in \[0, 1\]'),
        ({'gamma': 1.5}, r'gamma: 1.5 must be in \[0, 1\]'),
        ({'lam': -2.0}, r'lam: -2.0 must be in \[0, 1\]'),
        ({'value_clip': -1.0}, 'value_clip: -1.0 must be greater than 0'),
        ({'kl_target': -1.0}, 'kl_target: -1.0 must be greater than 0'),
        ({'kl_coefficient': -0.1}, r'kl_coefficient: -0.1 must be in \[0, 1e6\]'),
        ({'kl_coefficient': math.nan}, 'kl_coefficient: nan must be finite'),
        ({'clip': math.inf}, 'clip: inf must be finite'),
        (
            {'kl_controller': 'adaptive', 'kl_horizon': 1.0},
            'kl_horizon: 1.0 episodes are so few',
        ),
        (
            {'kl_estimator': 'none', 'kl_controller': 'adaptive'},
            'steers a KL term, but there is none',
        ),
        (
            {'ptx_coefficient': 1.0, 'ptx_batch_size': 9, 'micro_batches': 2},
            '9 rows are not divisible in 2 micro-batches',
        ),
        ({'algorithm': 'reinforce', 'kl_coefficient': 1.5}, 'beta must be in'),
    ],
)
def test_rules(changes, says):
    with pytest.raises(UserError, match=says):
        rules.validate(experiment(**changes))


def test_the_default_is_valid():
    rules.validate(experiment())
    assert table.STAGES.keys() >= {'policy', 'dpo'}
