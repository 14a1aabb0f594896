"""Taskmaster Coffee (TM-4-2024) and Ticketing (TM-3-2020), the data of the paper.

https://github.com/google-research-datasets/Taskmaster, CC BY 4.0. A dialog's first user
turn determines the split of all its reward rows and demonstrations. A random split of
the rows would leak, because rows are turns of the same dialogs. First turns that differ
in white space alone are of one dialog: the more held-out split keeps it, and what the
other loses is counted.
"""

import collections
import itertools
from collections.abc import Iterable, Iterator, Mapping

from perl.data.files import lines
from perl.data.records import (
    SPLITS,
    Comparison,
    Dataset,
    Demonstration,
    Rating,
)
from perl.data.sets.taskmaster import dialogs, tickettalk
from perl.data.sets.taskmaster import turns as turn_text
from perl.data.splits import Groups, split_of


def load_coffee(root: str, api_chars: int = 400) -> Dataset:
    """Coffee: ratings, pairs and prompts from reward rows; dialogs as demonstrations.

    Text to pretrain on is the dialogs and the longest contexts of the reward rows
    (those that no other context continues).

    Args:
        root: the folder that contains TM-4-2024.
        api_chars: an API response is cut to this many characters.

    Raises:
        UserError: a file is missing or damaged, or a row has another form.
    """
    groups = Groups(distinct=False)
    _add_rewards(groups, root, 'TM-4-2024', api_chars)
    for dialog in dialogs.whole(root, 'TM-4-2024', groups.counts):
        _add_dialog(groups, dialog, api_chars)
    return groups.dataset('taskmaster_coffee')


def load_ticketing(root: str, api_chars: int = 400) -> Dataset:
    """Ticketing: reward rows as for Coffee; demonstrations from train-bc.tsv.

    Text to pretrain on is the demonstrations and the longest contexts. Arguments and
    errors are as in `load_coffee`; `root` contains TM-3-2020.
    """
    groups = Groups(distinct=False)
    _add_rewards(groups, root, 'TM-3-2020', api_chars)
    below = 'TM-3-2020/splits/train/train-bc.tsv*'
    tsv = lines.find(root, below, source=dialogs.SOURCE)[0]
    for context, target in tickettalk.read(tsv, dialogs.SOURCE):
        dialog = turn_text.first_user(context)
        prompt = turn_text.prompt(context, groups.counts, api_chars)
        response = turn_text.response(target, groups.counts)
        shown = Demonstration(prompt, response)
        groups.add('demonstrations', split_of(dialog), dialog, shown)
        groups.add('text', split_of(dialog), dialog, prompt + response)
    return groups.dataset('taskmaster_ticketing')


def _add_rewards(groups: Groups, root: str, folder: str, api_chars: int) -> None:
    """Adds the ratings, their distinct prompts, the pairs of one context, and text."""
    counts = groups.counts
    contexts: dict[str, dict] = {split: {} for split in SPLITS}
    for row, context, generation in dialogs.rated(root, folder):
        label = float(row.one_of('reward', 0, 1))
        dialog = turn_text.first_user(context)
        split = split_of(dialog)
        prompt = turn_text.prompt(context, counts, api_chars)
        response = turn_text.response(generation, counts)
        if not response.strip():
            counts['empty_responses_dropped'] += 1
            continue
        groups.add('ratings', split, dialog, Rating(prompt, response, label))
        start = prompt, dialog, {}
        *_, rated = contexts[split].setdefault(row.text('context'), start)
        rated.setdefault(row.text('generation'), (response, set()))[1].add(label)
    for split, rows in contexts.items():
        prompts = {prompt: dialog for prompt, dialog, _ in rows.values()}
        for prompt, dialog in prompts.items():
            groups.add('prompts', split, dialog, prompt)
        for text, dialog in _longest(prompts):
            groups.add('text', split, dialog, text)
        for prompt, dialog, rated in rows.values():
            for pair in _pairs(prompt, rated.values(), counts):
                groups.add('comparisons', split, dialog, pair)


def _pairs(
    prompt: str, rated: Iterable[tuple[str, set[float]]], counts: collections.Counter
) -> Iterator[Comparison]:
    """Pairs of every good with every bad response to the same context.

    Responses with both labels and pairs of equal texts are left out and counted.
    """
    ups = [text for text, labels in rated if labels == {1.0}]
    downs = [text for text, labels in rated if labels == {0.0}]
    counts['conflicting_labels'] += sum(len(labels) == 2 for _, labels in rated)
    for up, down in itertools.product(ups, downs):
        if up == down:
            counts['identical_pairs_dropped'] += 1
        else:
            yield Comparison(prompt, (up, down))


def _add_dialog(groups: Groups, turns: list[dict], api_chars: int) -> None:
    dialog = turn_text.first_user(turns)
    split = split_of(dialog)
    rows = [turn_text.line(turn, groups.counts, api_chars) for turn in turns]
    groups.add('text', split, dialog, '\n'.join(rows))
    for place, turn in enumerate(turns):
        if turn['role'] == 'agent':
            prompt = '\n'.join([*rows[:place], turn_text.CUE])
            response = rows[place].removeprefix(turn_text.CUE)
            if response.strip():
                shown = Demonstration(prompt, response)
                groups.add('demonstrations', split, dialog, shown)
            else:
                groups.counts['empty_turns'] += 1


def _longest(prompts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The contexts that no other continues, without the cue at their end; with the
    dialog of each, which `prompts` has by prompt."""
    contexts = {
        prompt.removesuffix(turn_text.CUE).rstrip(): dialog
        for prompt, dialog in prompts.items()
    }
    ordered = sorted(contexts)
    for text, after in zip(ordered, [*ordered, ''][1:], strict=True):
        if text and not after.startswith(text):
            yield text, contexts[text]
