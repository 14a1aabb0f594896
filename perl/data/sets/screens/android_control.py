"""AndroidControl: people carry out tasks in the apps of a phone, step by step.

https://github.com/google-research/google-research/tree/master/android_control (Li et
al. 2024, arXiv 2406.03679); the files are in gs://gresearch/android_control. A row is a
step: the screen as text, the goal, the actions so far and the instruction of the step;
the response is the action as JSON. Screenshots are not used.

    Button "Save" at 540 1210
    goal: save the note
    done: {"action_type":"open_app","app_name":"Notes"}
    step: press save
    action: {"action_type":"click","x":540,"y":1210}
"""

import pathlib
import random
from collections.abc import Iterator

from perl.data.files import features, json_text, lines, text_file
from perl.data.files.features import Features
from perl.data.records import Dataset
from perl.data.sets.screens import accessibility, actions, choice
from perl.data.sets.screens.accessibility import Element
from perl.data.sets.screens.actions import Action
from perl.data.splits import Groups
from perl.system.errors import UserError

SOURCE = 'https://console.cloud.google.com/storage/browser/gresearch/android_control'
_SPLITS = {'train': 'train', 'validation': 'val', 'test': 'test'}
_NAMES = ('episode_id', 'goal', 'accessibility_trees', 'actions', 'step_instructions')


def load(root: str = '', negatives: int = 1, seed: int = 0) -> Dataset:
    """Actions as demonstrations, comparisons of right and wrong ones, screen prompts.

    Wrong actions are drawn at random, not human: clicks on other elements of the
    screen, and actions of other kinds.

    Args:
        root: the folder that contains splits.json and files android_control-…; a part
            of the twenty files is enough.
        negatives: number of wrong actions per step, each a comparison and a rating of
            0; an action that a person did at an equal prompt is left out.
        seed: the seed of the wrong actions.

    Raises:
        UserError: a file is missing or damaged, or an episode has another form.
    """
    groups, gold, steps = Groups(official=True), actions.Gold(), []
    for split, episode, record in _episodes(root, groups):
        for place, (prompt, action, screen) in enumerate(_steps(record)):
            groups.counts['element_texts_cut'] += sum(x.cut for x in screen)
            clicked = actions.target(action, screen)
            gold.add(prompt, action, clicked)
            rng = random.Random(f'{seed} {episode} {place}')
            wrong = actions.draw_wrong(action, clicked, screen, negatives, rng)
            steps.append((split, episode, prompt, action, wrong))
    for split, episode, prompt, action, drawn in steps:
        # an action that is wrong here may be right at another step with this prompt
        wrong = [other for other in drawn if not gold.right(prompt, other)]
        right, *others = (f' {actions.write(x)}' for x in (action, *wrong))
        tags = (('action', action['action_type']),)
        choice.add(groups, split, episode, prompt, right, others, tags)
    return groups.dataset('android_control', gold)


def _episodes(root: str, groups: Groups) -> Iterator[tuple[str, str, Features]]:
    """(split, id, record) of every episode, once."""
    splits = _splits(lines.find(root, 'splits.json', source=SOURCE)[0])
    read_before = set()
    for file in lines.find(root, 'android_control-*', source=SOURCE):
        for record in features.read(file, _NAMES, SOURCE):
            episode = str(record.integer('episode_id'))
            if episode not in splits:
                groups.counts['episodes_of_no_split_dropped'] += 1
            elif episode in read_before:
                groups.counts['repeated_episodes_dropped'] += 1
            else:
                read_before.add(episode)
                yield splits[episode], episode, record


def _steps(record: Features) -> Iterator[tuple[str, Action, list[Element]]]:
    """The prompt, the action and the screen of every step of an episode."""
    trees = record.all_bytes('accessibility_trees')
    done = record.all_bytes('actions')
    instructions = record.texts('step_instructions')
    if not len(trees) - 1 == len(done) == len(instructions):
        raise record.bad(
            f'{len(done)} actions and {len(instructions)} step_instructions for '
            f'{len(trees)} accessibility_trees, which should be one more'
        )
    goal, past = _one_line(record.text('goal')), []
    for tree, text, instruction in zip(trees[:-1], done, instructions, strict=True):
        try:
            action, screen = actions.parse(text), accessibility.elements(tree)
        except ValueError as error:
            raise record.bad(f'step {len(past) + 1}: {error}') from error
        rows = [element.line for element in screen]
        rows += [f'goal: {goal}', *past]
        rows += [f'step: {_one_line(instruction)}', 'action:']
        yield '\n'.join(rows), action, screen
        past.append(f'done: {actions.write(action)}')


def _splits(file: pathlib.Path) -> dict[str, str]:
    """{episode: split} of splits.json, which lists the episodes of each split."""
    with text_file.opened(file, SOURCE) as text:
        content = text.read()
    try:
        listed = json_text.parse(content)
        return {str(x): split for name, split in _SPLITS.items() for x in listed[name]}
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f'{file} does not list the episodes of {", ".join(_SPLITS)}: get it again '
            f'from {SOURCE}'
        ) from None


def _one_line(text: str) -> str:
    return ' '.join(text.split())
