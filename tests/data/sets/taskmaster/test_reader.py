"""Taskmaster: records from rows and dialogs, no leaks, the counts of the real files."""

import collections
import gzip
import json

import pytest

from perl import data
from perl.data.sets.taskmaster import reader
from perl.system.errors import UserError


def annotated(*values):
    return [{'name': name, 'value': value} for name, value in values]


def fake_coffee(root):
    """Two reward contexts and one dialog, with an invalid value and a bare call."""
    say = {'role': 'user', 'text': 'a latte'}
    rows = [
        {
            'context': json.dumps([say]),
            'generation': json.dumps({'role': 'agent', 'text': text}),
            'reward': reward,
        }
        for text, reward in [('Sure', 1.0), ('No', 0.0), ('No', 0.0), ('Eh', 0.0)]
    ]
    user = {
        'speaker': 'user',
        'text': 'a latte',
        'annotations': annotated(
            ('api_call', 'show_menu'),
            ('api_response', 'show_menu'),
            ('response', '{"items": ""oops""}'),
            ('api_call', 'add'),
            ('request', '{"n": 1}'),
            ('api_response', 'add'),
            ('response', '{"ok": true}'),
        ),
    }
    agent = {'speaker': 'assistant', 'text': 'Done', 'annotations': []}
    dialogs = [{'utterances': [user, agent]}]
    for folder, content in (('reward', rows), ('data', dialogs)):
        path = root / 'TM-4-2024' / folder / f'{folder}_00.json.gz'
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(json.dumps(content).encode()))


def test_small_coffee(tmp_path):
    fake_coffee(tmp_path)
    made = data.load('taskmaster_coffee', root=tmp_path)
    split = data.split_of('a latte')
    assert [row.label for row in made.ratings[split]] == [1, 0, 0, 0]
    assert [row.completions for row in made.comparisons[split]] == [
        (' Sure', ' No'),
        (' Sure', ' Eh'),
    ]
    assert made.prompts[split] == ['user: a latte\nagent:']
    assert made.text[split] == [
        'user: a latte',
        'user: a latte\nagent: [show_menu]\nagent: [add n=1]\napi: ok=True\n'
        'agent: Done',
    ]
    responses = [row.response for row in made.demonstrations[split]]
    assert responses == [' [show_menu]', ' [add n=1]', ' Done']
    assert made.counts['invalid_json_dropped'] == 1
    # turns of a dialog belong together
    rows = [*made.ratings[split], *made.comparisons[split]]
    assert {row.group for row in rows} == {'a latte'}
    assert made.prompt_groups == {'user: a latte\nagent:': 'a latte'}


def test_a_dialog_leaks_whatever_its_white_space(tmp_path):
    first = 'a latte'
    other = next(
        text
        for spaces in range(1, 99)
        if data.split_of(text := first + ' ' * spaces) != data.split_of(first)
    )
    fake_coffee(tmp_path)
    context = [{'role': 'user', 'text': other}, {'role': 'agent', 'text': 'Hm'}]
    file = tmp_path / 'TM-4-2024/reward/reward_01.json'
    file.write_text(json.dumps([{**GOOD, 'context': json.dumps(context)}]))
    made = data.load('taskmaster_coffee', root=tmp_path)
    splits = {data.split_of(first), data.split_of(other)}
    kept, emptied = sorted(splits, key=data.SPLITS.index, reverse=True)
    for kind in ('text', 'demonstrations', 'comparisons', 'ratings', 'prompts'):
        assert not getattr(made, kind)[emptied]
    assert made.ratings[kept] and made.counts['leaks_dropped']


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(UserError, match=r'TM-4-2024/reward.*github.com'):
        data.load('taskmaster_coffee', root=tmp_path)
    with pytest.raises(UserError, match=r'TM-3-2020/reward.*github.com'):
        data.load('taskmaster_ticketing', root=tmp_path)
    fake_coffee(tmp_path)
    file = tmp_path / 'TM-4-2024/data/data_00.json.gz'
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match=r'data_00.json.gz is damaged'):
        data.load('taskmaster_coffee', root=tmp_path)


GOOD = {
    'context': '[{"role": "user", "text": "hi"}]',
    'generation': '{"role": "agent", "text": "yes"}',
    'reward': 1.0,
}


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'context': None}, "'context' is missing"),
        ({'context': []}, r"'context' is \[\], not text"),
        ({'context': '['}, r"'context' is not JSON \(Expecting value"),
        ({'context': '{}'}, "'context' is {}, not a list of turns"),
        (
            {'context': '["a"]'},
            "'context' has 'a', which is not a turn",
        ),
        (
            {'context': '[{"text": "a"}]'},
            "'context' has {.*}, which is not a turn of user",
        ),
        ({'context': '[{"role": "user"}]'}, "'context' has a turn of user without"),
        (
            {'generation': '[]'},
            r"'generation' has \[\], which is not a turn of user, agent, api",
        ),
        ({'generation': '{"role": "agent"}'}, "'generation' has a turn of agent with"),
        (
            {'generation': '{"role": "agent", "text": null}'},
            "'generation' has a turn of agent whose text is None",
        ),
        (
            {'generation': '{"role": "user", "text": "a"}'},
            "'generation' is not a turn of the agent",
        ),
        ({'reward': None}, "'reward' is None, not one of 0, 1"),
        ({'reward': 7}, "'reward' is 7, not one of 0, 1"),
        ({'reward': 0.5}, "'reward' is 0.5, not one"),
        ({'reward': 'nan'}, "'reward' is 'nan', not one"),
    ],
)
def test_bad_reward_rows(tmp_path, change, said):
    fake_coffee(tmp_path)
    file = tmp_path / 'TM-4-2024/reward/reward_01.json'
    file.write_text(json.dumps([GOOD, {**GOOD, **change}]))
    with pytest.raises(
        UserError, match=f'reward_01.json, row 2, line 1: {said}.*; fix'
    ):
        data.load('taskmaster_coffee', root=tmp_path)


SAID = {'speaker': 'user', 'text': 'hi', 'annotations': []}


@pytest.mark.parametrize(
    ('dialog', 'said'),
    [
        ('hi', " is 'hi', not an object"),
        ({}, ": 'utterances' is None, not a list"),
        ({'utterances': [{**SAID, 'text': None}]}, ": 'text' is missing"),
        ({'utterances': [{**SAID, 'speaker': 'x'}]}, ": 'speaker' is 'x', not one of"),
        ({'utterances': [{'speaker': 'user', 'text': ''}]}, ": 'annotations' is None"),
        (
            {'utterances': [{**SAID, 'annotations': annotated(('note', 'x'))}]},
            ": 'name' is 'note', not one of api_call",
        ),
        (
            {'utterances': [{**SAID, 'annotations': annotated(('request', None))}]},
            ": 'value' is missing",
        ),
    ],
)
def test_bad_dialogs(tmp_path, dialog, said):
    fake_coffee(tmp_path)
    file = tmp_path / 'TM-4-2024/data/data_01.json'
    file.write_text(json.dumps([{'utterances': []}, dialog]))
    with pytest.raises(UserError, match=f'data_01.json, row 2, line 1{said}.*; fix or'):
        data.load('taskmaster_coffee', root=tmp_path)


def test_a_file_beside_its_gzip_is_read_once(tmp_path):
    fake_coffee(tmp_path)
    for name in ('reward/reward', 'data/data'):
        file = tmp_path / f'TM-4-2024/{name}_00.json.gz'
        file.with_suffix('').write_bytes(gzip.decompress(file.read_bytes()))
    made = data.load('taskmaster_coffee', root=tmp_path)
    assert sum(sizes(made.ratings)) == 4 and sum(sizes(made.demonstrations)) == 3


@pytest.fixture(scope='module')
def coffee(shared):
    return reader.load_coffee(shared / 'data/taskmaster')


@pytest.fixture(scope='module')
def ticketing(shared):
    return reader.load_ticketing(shared / 'data/taskmaster')


def sizes(rows):
    return [len(rows[split]) for split in data.SPLITS]


def up(rows):
    return [round(sum(r.label for r in s) / len(s), 3) for s in rows.values()]


def test_coffee_counts(coffee):
    assert sizes(coffee.ratings) == [2618, 298, 312]
    assert up(coffee.ratings) == [0.863, 0.872, 0.821]
    assert sum(sizes(coffee.comparisons)) == 617
    # The dialogs, and the contexts that no other context continues.
    assert 3710 < sum(sizes(coffee.text)) < 3710 + sum(sizes(coffee.prompts))
    # 6,920 turns and 15,395 calls, less the requests that are no JSON.
    assert 22_200 < sum(sizes(coffee.demonstrations)) <= 22_315
    assert coffee.counts['invalid_json_dropped'] == 72
    assert coffee.counts['conflicting_labels'] == 0
    assert 'leaks_dropped' not in coffee.counts


def test_ticketing_counts(ticketing):
    # of one dialog, whose first turn is in val with another white space
    leaks = {'ratings': 11, 'prompts': 11, 'text': 1}
    assert ticketing.counts['leaks_dropped'] == sum(leaks.values())
    dropped = ticketing.counts['empty_responses_dropped']
    assert sum(sizes(ticketing.ratings)) + dropped + leaks['ratings'] == 3667
    assert dropped == 4
    assert sizes(ticketing.ratings) == [2891, 467, 294]
    assert up(ticketing.ratings) == [0.155, 0.182, 0.139]
    assert sum(sizes(ticketing.comparisons)) == 22
    assert ticketing.counts['conflicting_labels'] == 5
    assert sum(sizes(ticketing.demonstrations)) == 1517


@pytest.mark.parametrize('name', ['coffee', 'ticketing'])
def test_no_dialog_is_in_two_splits(name, request):
    made = request.getfixturevalue(name)
    found = collections.defaultdict(set)
    for split in data.SPLITS:
        rows = made.ratings[split] + made.demonstrations[split]
        prompts = [row.prompt for row in rows + made.comparisons[split]]
        for text in [*made.text[split], *made.prompts[split], *prompts]:
            lines = text.split('\n')
            users = [line for line in lines if line.startswith('user:')]
            if users:
                found[''.join(users[0].split())].add(split)
    assert not [first for first, splits in found.items() if len(splits) > 1]


@pytest.mark.parametrize('name', ['coffee', 'ticketing'])
def test_all_of_it_encodes(name, request):
    made = request.getfixturevalue(name)
    tokenizer = data.tokenizers.load('bytes')
    for rows in (made.ratings, made.demonstrations, made.comparisons, made.prompts):
        examples, counts = data.encode(rows['val'], tokenizer, 256, 2048)
        assert len(examples) == counts['examples'] == len(rows['val'])
