"""AndroidControl: a row a step, official splits of episodes, an exact reward."""

import json

import pytest
from released import android_control, episode, example, forest, node, write_records

from perl import data
from perl.system.errors import UserError


def load(root, *episodes, **options):
    """A folder with some episodes, all of them to train on."""
    payloads = [example(features) for features in episodes]
    write_records(root / 'android_control-00000-of-00001', payloads, True)
    ids = [features['episode_id'][0] for features in episodes]
    splits = {'train': ids, 'validation': [], 'test': []}
    (root / 'splits.json').write_text(json.dumps(splits))
    return data.load('android_control', root=str(root), **options)


def test_steps_to_records(tmp_path):
    made = load(tmp_path, episode(3))
    first, second = made.demonstrations['train']
    assert first.response == ' {"action_type":"open_app","app_name":"app 3"}'
    assert second.response == ' {"action_type":"click","x":100,"y":150}'
    *screen, goal, done, step, cue = second.prompt.split('\n')
    assert screen == [
        'Button "save tree large" at 270 150',
        'Button "cancel" at 810 150',
        'ImageView at 540 350',
    ]
    assert goal.startswith('goal: save tree large ')
    assert (done, step) == (f'done:{first.response}', 'step: press save')
    assert cue == 'action:' and 'done:' not in first.prompt
    assert made.prompts['train'] == [first.prompt, second.prompt]
    assert made.text['train'][1] == second.prompt + second.response


def test_right_and_wrong(tmp_path):
    made = load(tmp_path, episode(3), negatives=2)
    assert made.counts['programmatic_negatives'] == 4
    assert [row.label for row in made.ratings['train']] == [1, 0, 0] * 2
    kinds = [row.tags for row in made.comparisons['train'][::2]]
    assert kinds == [(('action', 'open_app'),), (('action', 'click'),)]
    for row in made.ratings['train']:
        assert made.gold(row.prompt, row.response) == row.label
    for row in made.comparisons['train']:
        assert [made.gold(row.prompt, x) for x in row.completions] == [1.0, 0.0]
    prompt = made.prompts['train'][1]
    assert made.gold(prompt, ' {"action_type":"click","x":500,"y":101}') == 1.0
    assert made.gold(prompt, ' {"action_type":"click","x":600,"y":101}') == 0.0


def test_wrong_actions_are_those_of_the_seed(tmp_path):
    seeds = (0, 0, 1, 2, 3)
    made = [load(tmp_path, episode(3), seed=seed).comparisons for seed in seeds]
    assert made[0] == made[1]
    assert any(other != made[0] for other in made[2:])


def test_official_splits(tmp_path):
    root = str(android_control(tmp_path))
    made = data.load('android_control', root=root)
    assert [len(rows) for rows in made.prompts.values()] == [40, 10, 10]
    splits = json.loads((tmp_path / 'splits.json').read_text())
    splits['test'] = splits['test'][:-1]
    (tmp_path / 'splits.json').write_text(json.dumps(splits))
    made = data.load('android_control', root=root)
    assert [len(rows) for rows in made.prompts.values()] == [40, 10, 8]
    assert made.counts['episodes_of_no_split_dropped'] == 1


def test_equal_prompts_with_other_actions(tmp_path):
    """What either person did is right, and no wrong action of the other."""
    said = {'goal': ['g'], 'step_instructions': ['s', 't']}
    said |= {'accessibility_trees': episode(1)['accessibility_trees']}
    done = ['{"action_type":"click","x":100,"y":150}', '{"action_type":"wait"}']
    people = [
        episode(1, actions=done, **said),
        episode(2, actions=done[::-1], **said),
    ]
    made = load(tmp_path, *people, negatives=99)
    prompt = made.demonstrations['train'][0].prompt
    both = [
        row.response for row in made.demonstrations['train'] if row.prompt == prompt
    ]
    assert both == [f' {action}' for action in done]
    assert [made.gold(prompt, action) for action in both] == [1.0, 1.0]
    for row in made.ratings['train']:
        assert made.gold(row.prompt, row.response) == row.label
    wrong = sum(row.label == 0 for row in made.ratings['train'])
    assert wrong == made.counts['programmatic_negatives']
    assert wrong == len(made.comparisons['train'])


def test_texts_that_are_cut_are_counted(tmp_path):
    screen = forest(*(node((0, n, 9, n + 9), 'x' * (59 + n)) for n in range(4)))
    made = load(tmp_path, episode(1, accessibility_trees=[screen] * 3))
    assert made.counts['element_texts_cut'] == 2 * 2


def test_an_episode_in_two_files_is_read_once(tmp_path):
    once = load(tmp_path, episode(1))
    again = load(tmp_path, episode(1), episode(1))
    assert again.comparisons == once.comparisons and again.ratings == once.ratings
    assert again.counts['repeated_episodes_dropped'] == 1


def test_screenshots_are_not_needed(tmp_path):
    bare = {k: x for k, x in episode(3).items() if not k.startswith('screenshot')}
    assert load(tmp_path, bare).prompts == load(tmp_path, episode(3)).prompts


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'goal': []}, 'it has 0 values of goal, not one'),
        ({'step_instructions': ['a']}, '2 actions and 1 step_instructions for 3 acc'),
        ({'actions': ['{}', '{}']}, 'step 1: no action_type None'),
        ({'actions': ['{"action_type"', '{}']}, 'step 1: Expecting'),
        ({'accessibility_trees': [b'\x0a\x05oops'] * 3}, 'step 1: a field ends after'),
    ],
)
def test_bad_episodes(tmp_path, change, said):
    with pytest.raises(UserError, match=f'record 2: {said}.*gresearch/android_control'):
        load(tmp_path, episode(1), episode(2, **change))


def test_missing_and_damaged_files_say_where_to_get_them(tmp_path):
    with pytest.raises(UserError, match=r'no .*splits.json: get it from .*gresearch'):
        data.load('android_control', root=str(tmp_path))
    (tmp_path / 'splits.json').write_text('{"train": []}')
    with pytest.raises(UserError, match=r'splits.json does not list the episodes of'):
        data.load('android_control', root=str(tmp_path))
    android_control(tmp_path)
    file = tmp_path / 'android_control-00001-of-00002'
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match=r'00001-of-00002, record .* damaged'):
        data.load('android_control', root=str(tmp_path))
    for path in tmp_path.glob('android_control-*'):
        path.unlink()
    with pytest.raises(UserError, match=r'no .*android_control-\*: get it from'):
        data.load('android_control', root=str(tmp_path))
