import pytest

from perl.report.judge import judged_by, win_rate

TRAINER = 'judged by the reward that trained it'


@pytest.mark.parametrize(
    ('judge', 'model', 'trained', 'words'),
    [
        ('gold', '', False, 'judged by the gold reward'),
        ('gold', '', True, 'judged by the gold reward, which also trained it'),
        ('endpoint', 'm', False, 'judged by a language model (m)'),
        ('endpoint', 'm', True, f'{TRAINER} (m)'),
        ('model', '', False, 'judged by a language model of this run'),
        ('recorded', '', None, 'judged by recorded answers'),
        ('my:function', '', False, 'judged by the function my:function'),
        ('reward_full', '', False, 'judged by the reward model reward_full'),
        ('reward', '', True, f'{TRAINER} (reward)'),
        (None, '', None, 'judge not recorded'),
    ],
)
def test_who_judged_stands_beside_the_rate(judge, model, trained, words):
    figures = {'judge': judge, 'judge_trained_the_policy': trained, 'win_rate': 0.81}
    figures |= {'judge_model': model, 'n': 50}
    assert judged_by(figures, 'reward') == (words, words.startswith(TRAINER))
    shown = f'**{words}**' if words.startswith(TRAINER) else words
    assert win_rate(figures) == f'81 %, {shown}'
    assert win_rate({'judge': judge}) == ''


def test_an_older_run_calls_its_reward_model_reward():
    assert judged_by({'judge': 'reward'}, 'rm') == (f'{TRAINER} (rm)', True)
    assert judged_by({'judge': 'reward'}) == (
        'judged by the reward model reward',
        False,
    )
