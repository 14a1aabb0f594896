"""AndroidControl: people carry out tasks in the apps of a phone, step by step.

https://github.com/google-research/google-research/tree/master/android_control (Li et
al. 2024, arXiv 2406.03679); the files lie in gs://gresearch/android_control. A row is a
step: the screen as text, the goal, the actions so far and the instruction of the step;
the response is the action as JSON. The screenshots are never looked at.

    Button "Save" at 540 1210
    goal: save the note
    done: {"action_type":"open_app","app_name":"Notes"}
    step: press save
    action: {"action_type":"click","x":540,"y":1210}
"""

import json
import pathlib
import random
from collections.abc import Iterator

from perl.data.files import lines, tfrecord
from perl.data.records import Comparison, Dataset, Demonstration, Rating
from perl.data.sets.screens import accessibility, actions
from perl.data.sets.screens.accessibility import Element
from perl.data.sets.screens.actions import Action
from perl.data.splits import Groups
from perl.system.errors import UserError

SOURCE = 'https://console.cloud.google.com/storage/browser/gresearch/android_control'
_SPLITS = {'train': 'train', 'validation': 'val', 'test': 'test'}
_NAMES = ('episode_id', 'goal', 'accessibility_trees', 'actions', 'step_instructions')


def load(root: str = '', negatives: int = 1, seed: int = 0) -> Dataset:
    """Actions to imitate, right against wrong ones, screens as prompts.

    Wrong actions are drawn, not human: clicks on other elements of the screen, and
    actions of other kinds.

    Args:
        root: the folder that holds splits.json and files android_control-…; some of the
            twenty files will do.
        negatives: wrong actions of each step, each a comparison and a rating of 0;
            fewer where a person did one of them at an equal prompt.
        seed: decides which.

    Raises:
        UserError: a file is missing or damaged, or an episode is not of this kind.
    """
    found, gold, steps = Groups(), actions.Gold(), []
    for split, episode, record, where in _episodes(root, found):
        for place, (prompt, action, screen) in enumerate(_steps(record, where)):
            found.counts['element_texts_cut'] += sum(x.cut for x in screen)
            clicked = actions.target(action, screen)
            gold.add(prompt, action, clicked)
            rng = random.Random(f'{seed} {episode} {place}')
            wrong = actions.draw_wrong(action, clicked, screen, negatives, rng)
            steps.append((split, episode, prompt, action, wrong))
    for split, episode, prompt, action, drawn in steps:
        # what is wrong here may be what somebody did at an equal prompt
        wrong = [other for other in drawn if not gold.right(prompt, other)]
        found.counts['programmatic_negatives'] += len(wrong)
        _add(found, split, episode, prompt, action, wrong)
    return found.dataset('android_control', gold)


def _episodes(root: str, found: Groups) -> Iterator[tuple[str, str, dict, str]]:
    """(split, id, record, place) of every episode, once."""
    splits = _splits(lines.find(root, 'splits.json', source=SOURCE)[0])
    seen = set()
    for file in lines.find(root, 'android_control-*', source=SOURCE):
        for number, record in enumerate(tfrecord.read(file, _NAMES, SOURCE), 1):
            where = f'{file}, record {number}'
            episode = str(_one(record, 'episode_id', where))
            if episode not in splits:
                found.counts['episodes_of_no_split_dropped'] += 1
            elif episode in seen:
                found.counts['repeated_episodes_dropped'] += 1
            else:
                seen.add(episode)
                yield splits[episode], episode, record, where


def _steps(record: dict, where: str) -> Iterator[tuple[str, Action, list[Element]]]:
    """The prompt, the action and the screen of every step of an episode."""
    trees, done, told = (record.get(name, []) for name in _NAMES[2:])
    if not len(trees) - 1 == len(done) == len(told):
        raise _bad(
            where,
            f'{len(done)} actions and {len(told)} step_instructions for '
            f'{len(trees)} accessibility_trees, which should be one more',
        )
    goal, past = _text(_one(record, 'goal', where)), []
    for tree, text, instruction in zip(trees[:-1], done, told, strict=True):
        try:
            action, screen = actions.parse(text), accessibility.elements(tree)
        except ValueError as error:
            raise _bad(where, f'step {len(past) + 1}: {error}') from error
        rows = [element.line for element in screen]
        rows += [f'goal: {goal}', *past]
        rows += [f'step: {_text(instruction)}', 'action:']
        yield '\n'.join(rows), action, screen
        past.append(f'done: {actions.write(action)}')


def _add(
    found: Groups,
    split: str,
    episode: str,
    prompt: str,
    action: Action,
    wrong: list[Action],
) -> None:
    right = f' {actions.write(action)}'
    tags = (('action', action['action_type']),)
    found.add('text', split, episode, prompt + right)
    found.add('prompts', split, episode, prompt)
    found.add('demonstrations', split, episode, Demonstration(prompt, right))
    found.add('ratings', split, episode, Rating(prompt, right, 1.0, tags))
    for said in (f' {actions.write(other)}' for other in wrong):
        pair = Comparison(prompt, (right, said), tags=tags)
        found.add('comparisons', split, episode, pair)
        found.add('ratings', split, episode, Rating(prompt, said, 0.0, tags))


def _splits(file: pathlib.Path) -> dict[str, str]:
    """{episode: split} of splits.json, which lists the episodes of each split."""
    try:
        listed = json.loads(file.read_text('utf-8'))
        return {str(x): split for name, split in _SPLITS.items() for x in listed[name]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{file} does not list the episodes of {", ".join(_SPLITS)} ({error!r}): '
            f'get it again from {SOURCE}'
        ) from error


def _text(value: bytes) -> str:
    return ' '.join(value.decode('utf-8', 'replace').split())


def _one(record: dict, name: str, where: str) -> int | bytes:
    values = record.get(name, [])
    if len(values) != 1:
        raise _bad(where, f'it has {len(values)} values of {name}, not one')
    return values[0]


def _bad(where: str, what: str) -> UserError:
    return UserError(f'{where}: {what}; get the file again from {SOURCE}')
