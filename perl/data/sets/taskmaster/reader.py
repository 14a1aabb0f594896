"""Taskmaster Coffee (TM-4-2024) and Ticketing (TM-3-2020), the data of the paper.

https://github.com/google-research-datasets/Taskmaster, CC BY 4.0. A dialog's first user
turn determines the split of all its reward rows and demonstrations. A random split of
the rows would leak, because rows are turns of the same dialogs.
"""

import collections
import itertools
from collections.abc import Iterable, Iterator

from perl.data.files import lines
from perl.data.records import (
    SPLITS,
    Comparison,
    Dataset,
    Demonstration,
    Rating,
    split_of,
)
from perl.data.sets.taskmaster import dialogs, tickettalk
from perl.data.sets.taskmaster import turns as turn_text


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
    data = Dataset('taskmaster_coffee', counts=collections.Counter())
    _add_rewards(data, root, 'TM-4-2024', api_chars)
    for dialog in dialogs.whole(root, 'TM-4-2024', data.counts):
        _add_dialog(data, dialog, api_chars)
    return data


def load_ticketing(root: str, api_chars: int = 400) -> Dataset:
    """Ticketing: reward rows as for Coffee; demonstrations from train-bc.tsv.

    Text to pretrain on is the demonstrations and the longest contexts. Arguments and
    errors are as in `load_coffee`; `root` contains TM-3-2020.
    """
    data = Dataset('taskmaster_ticketing', counts=collections.Counter())
    _add_rewards(data, root, 'TM-3-2020', api_chars)
    below = 'TM-3-2020/splits/train/train-bc.tsv*'
    tsv = lines.find(root, below, source=dialogs.SOURCE)[0]
    for context, target in tickettalk.read(tsv, dialogs.SOURCE):
        split = split_of(turn_text.first_user(context))
        prompt = turn_text.prompt(context, data.counts, api_chars)
        response = turn_text.response(target, data.counts)
        data.demonstrations[split].append(Demonstration(prompt, response))
        data.text[split].append(prompt + response)
    return data


def _add_rewards(data: Dataset, root: str, folder: str, api_chars: int) -> None:
    """Adds the ratings, their distinct prompts, the pairs of one context, and text."""
    contexts: dict[str, dict] = {split: {} for split in SPLITS}
    for row, context, generation in dialogs.rated(root, folder):
        label = float(row.one_of('reward', 0, 1))
        dialog = turn_text.first_user(context)
        split = split_of(dialog)
        prompt = turn_text.prompt(context, data.counts, api_chars)
        response = turn_text.response(generation, data.counts)
        if not response.strip():
            data.counts['empty_responses_dropped'] += 1
            continue
        data.ratings[split].append(Rating(prompt, response, label, group=dialog))
        data.prompt_groups[prompt] = dialog
        _, rated = contexts[split].setdefault(row.text('context'), (prompt, {}))
        rated.setdefault(row.text('generation'), (response, set()))[1].add(label)
    for split, rows in contexts.items():
        data.prompts[split].extend(dict.fromkeys(text for text, _ in rows.values()))
        data.text[split].extend(_longest(data.prompts[split]))
        for prompt, rated in rows.values():
            dialog = data.prompt_groups[prompt]
            pairs = _pairs(prompt, dialog, rated.values(), data.counts)
            data.comparisons[split].extend(pairs)


def _pairs(
    prompt: str,
    dialog: str,
    rated: Iterable[tuple[str, set[float]]],
    counts: collections.Counter,
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
            yield Comparison(prompt, (up, down), group=dialog)


def _add_dialog(data: Dataset, dialog: list[dict], api_chars: int) -> None:
    split = split_of(turn_text.first_user(dialog))
    rows = [turn_text.line(turn, data.counts, api_chars) for turn in dialog]
    data.text[split].append('\n'.join(rows))
    for place, turn in enumerate(dialog):
        if turn['role'] == 'agent':
            prompt = '\n'.join([*rows[:place], turn_text.CUE])
            response = rows[place].removeprefix(turn_text.CUE)
            if response.strip():
                data.demonstrations[split].append(Demonstration(prompt, response))
            else:
                data.counts['empty_turns'] += 1


def _longest(texts: list[str]) -> list[str]:
    """The contexts that no other context continues, without the final cue."""
    ordered = sorted(text.removesuffix(turn_text.CUE).rstrip() for text in texts)
    return [
        text
        for text, after in zip(ordered, [*ordered, ''][1:], strict=True)
        if text and not after.startswith(text)
    ]
