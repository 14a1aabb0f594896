"""Taskmaster Coffee (TM-4-2024) and Ticketing (TM-3-2020), the data of the paper.

https://github.com/google-research-datasets/Taskmaster, CC BY 4.0. Everything of a
dialog is in the split of its first user turn, reward rows and demonstrations alike; a
random split of the rows would leak, because rows are turns of the same dialogs.
"""

import collections
import gzip
import io
import itertools
import json
import pathlib
import zlib
from collections.abc import Iterable, Iterator

from perl.data import tickettalk
from perl.data import turns as turn_text
from perl.data.records import (
    SPLITS,
    Comparison,
    Dataset,
    Demonstration,
    Rating,
    split_of,
)
from perl.errors import UserError

SOURCE = 'https://github.com/google-research-datasets/Taskmaster'


def load_coffee(root: str | pathlib.Path, api_chars: int = 400) -> Dataset:
    """Coffee: ratings, pairs and prompts from the reward rows; dialogs to imitate.

    Text to pretrain on is the dialogs and the longest contexts of the reward rows
    (those that no other context continues).

    Args:
        root: the folder that holds TM-4-2024.
        api_chars: longest api response that is kept whole, in characters.

    Raises:
        UserError: a file is missing or damaged.
    """
    folder = pathlib.Path(root) / 'TM-4-2024'
    data = Dataset('taskmaster_coffee', counts=collections.Counter())
    _add_rewards(data, folder / 'reward', api_chars)
    for dialog in _rows(folder / 'data', 'data_*.json*'):
        _add_dialog(data, list(_dialog_turns(dialog, data.counts)), api_chars)
    return data


def load_ticketing(root: str | pathlib.Path, api_chars: int = 400) -> Dataset:
    """Ticketing: reward rows as for Coffee; demonstrations from train-bc.tsv.

    Text to pretrain on is the demonstrations and the longest contexts. Arguments and
    errors as `load_coffee`; `root` holds TM-3-2020.
    """
    folder = pathlib.Path(root) / 'TM-3-2020'
    data = Dataset('taskmaster_ticketing', counts=collections.Counter())
    _add_rewards(data, folder / 'reward', api_chars)
    tsv = _files(folder / 'splits' / 'train', 'train-bc.tsv*')[0]
    for context, target in tickettalk.read(io.StringIO(_read(tsv))):
        split = split_of(turn_text.first_user(context))
        prompt = turn_text.prompt(context, data.counts, api_chars)
        response = turn_text.response(target, data.counts)
        data.demonstrations[split].append(Demonstration(prompt, response))
        data.text[split].append(prompt + response)
    return data


def _add_rewards(data: Dataset, folder: pathlib.Path, api_chars: int) -> None:
    """Adds the ratings, their distinct prompts, the pairs of one context, and text."""
    contexts: dict[str, dict] = {split: {} for split in SPLITS}
    for number, row in enumerate(_rows(folder, 'reward_*.json*')):
        try:
            label = float(row['reward'])
            context, generation = map(json.loads, (row['context'], row['generation']))
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(f'{folder}, row {number} of all files,', error) from error
        split = split_of(turn_text.first_user(context))
        prompt = turn_text.prompt(context, data.counts, api_chars)
        response = turn_text.response(generation, data.counts)
        if not response.strip():
            data.counts['empty_responses_dropped'] += 1
            continue
        data.ratings[split].append(Rating(prompt, response, label))
        _, seen = contexts[split].setdefault(row['context'], (prompt, {}))
        seen.setdefault(row['generation'], (response, set()))[1].add(label)
    for split, found in contexts.items():
        data.prompts[split].extend(dict.fromkeys(text for text, _ in found.values()))
        data.text[split].extend(_longest(data.prompts[split]))
        for prompt, seen in found.values():
            data.comparisons[split].extend(_pairs(prompt, seen.values(), data.counts))


def _pairs(
    prompt: str, seen: Iterable[tuple[str, set[float]]], counts: collections.Counter
) -> Iterator[Comparison]:
    """Every liked response before every disliked one of the same context.

    Left out and counted are responses with both labels and pairs of one wording.
    """
    ups = [text for text, labels in seen if labels == {1.0}]
    downs = [text for text, labels in seen if labels == {0.0}]
    counts['conflicting_labels'] += sum(len(labels) == 2 for _, labels in seen)
    for up, down in itertools.product(ups, downs):
        if up == down:
            counts['identical_pairs_dropped'] += 1
        else:
            yield Comparison(prompt, (up, down))


def _add_dialog(data: Dataset, dialog: list[dict], api_chars: int) -> None:
    split = split_of(turn_text.first_user(dialog))
    lines = [turn_text.line(turn, data.counts, api_chars) for turn in dialog]
    data.text[split].append('\n'.join(lines))
    for place, turn in enumerate(dialog):
        if turn['role'] == 'agent':
            prompt = '\n'.join([*lines[:place], turn_text.CUE])
            response = lines[place].removeprefix(turn_text.CUE)
            if response.strip():
                data.demonstrations[split].append(Demonstration(prompt, response))
            else:
                data.counts['empty_turns'] += 1


def _dialog_turns(dialog: dict, counts: collections.Counter) -> Iterator[dict]:
    """The turns of a dialog in the form of the reward rows.

    An api call and its response hang, in order, on the user turn before the answer.
    A request or response that is no JSON is left out and counted.
    """
    for utterance in dialog['utterances']:
        role = 'user' if utterance['speaker'] == 'user' else 'agent'
        yield {'role': role, 'text': utterance['text']}
        yield from _api_turns(utterance['annotations'], counts)


def _api_turns(annotations: list[dict], counts: collections.Counter) -> Iterator[dict]:
    """Calls (a call may have no request) and responses, in order."""
    name = ''
    for annotation, following in itertools.pairwise([*annotations, {'name': ''}]):
        kind, value = annotation['name'], annotation['value']
        if kind in ('api_call', 'api_response'):
            name = value
            if (kind, following['name']) == ('api_call', 'api_response'):
                yield {'role': 'agent', 'api': {name: {}}}
            continue
        try:
            content = {name: json.loads(value)}
        except json.JSONDecodeError:
            counts['invalid_json_dropped'] += 1
            continue
        if kind == 'request':
            yield {'role': 'agent', 'api': content}
        else:
            yield {'role': 'api', 'response': content}


def _longest(texts: list[str]) -> list[str]:
    """The contexts that no other continues, without the cue at their end."""
    ordered = sorted(text.removesuffix(turn_text.CUE).rstrip() for text in texts)
    return [
        text
        for text, after in zip(ordered, [*ordered, ''][1:], strict=True)
        if text and not after.startswith(text)
    ]


def _rows(folder: pathlib.Path, pattern: str) -> Iterator[dict]:
    for file in _files(folder, pattern):
        try:
            yield from json.loads(_read(file))
        except json.JSONDecodeError as error:
            raise _damaged(file, error) from error


def _files(folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
    files = sorted(folder.glob(pattern))
    if not files:
        raise UserError(
            f'no {folder / pattern}: get {folder.relative_to(folder.parents[1])} of '
            f'{SOURCE} and name the folder above as root'
        )
    return files


def _read(file: pathlib.Path) -> str:
    """The text of a file, gzipped or not."""
    try:
        content = file.read_bytes()
        if file.suffix == '.gz':
            content = gzip.decompress(content)
        return content.decode('utf-8')
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise _damaged(file, error) from error


def _damaged(what: pathlib.Path | str, error: Exception) -> UserError:
    return UserError(f'{what} is damaged ({error!r}): get it again from {SOURCE}')
