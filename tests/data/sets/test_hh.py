"""Anthropic HH: dialogs cut at the last answer, no conversation in two splits."""

import pytest
from released import dialog, hh, write_lines

from perl import data
from perl.data.sets.hh import first_human
from perl.system.errors import UserError

# Of one kind to a row: two good ones, different prompts, an empty and a blank answer.
ROWS = [
    {'chosen': dialog(1, ' a', 2), 'rejected': dialog(1, ' b', 2)},
    {'chosen': dialog(2, ' a'), 'rejected': dialog(2, ' b')},
    {'chosen': dialog(3, ' a'), 'rejected': dialog(4, ' b')},
    {'chosen': dialog(5, ''), 'rejected': dialog(5, ' b')},
    {'chosen': dialog(6, ' a'), 'rejected': dialog(6, ' ')},
]


def sizes(rows):
    return [len(rows[split]) for split in data.SPLITS]


def test_rows_to_records(tmp_path):
    write_lines(tmp_path / 'harmless-base/train.jsonl', ROWS)
    write_lines(tmp_path / 'harmless-base/test.jsonl.gz', ROWS[:0])
    made = data.load('harmlessness', root=str(tmp_path))
    prompt = dialog(1, '', 2)
    assert prompt.endswith('\n\nHuman: and 1?\n\nAssistant:')
    assert made.comparisons['train'][0] == data.Comparison(prompt, (' a', ' b'))
    assert made.demonstrations['train'][0] == data.Demonstration(prompt, ' a')
    assert made.prompts['train'] == [prompt, dialog(2, '')]
    assert made.text['train'][0] == prompt + ' a'
    assert made.counts == {
        'different_prompts_dropped': 1,
        'empty_responses_dropped': 2,
    }


def test_official_splits_by_prompt(tmp_path):
    """Two thirds of the test file are val; what leaks from it leaves train."""
    hh(tmp_path)
    both = [{'chosen': dialog(1003, ' a', 2), 'rejected': dialog(1003, ' b', 2)}]
    write_lines(tmp_path / 'harmless-base/train.jsonl.gz', both + ROWS[:2])
    made = data.load('harmlessness', root=str(tmp_path))
    train, val, test = sizes(made.comparisons)
    assert (train, val + test) == (2, 60) and 30 <= val <= 50
    assert made.counts['leaks_dropped'] == 4  # a record of each kind


def test_test_file_alone_is_split_by_conversation(tmp_path):
    """The same first words of the human share a split, however the dialog goes on."""
    rows = [
        {'chosen': dialog(n, ' a', turns), 'rejected': dialog(n, ' b', turns)}
        for n in range(60)
        for turns in (1, 2, 3)
    ]
    write_lines(tmp_path / 'harmless-base/test.jsonl.gz', rows)
    made = data.load('harmlessness', root=str(tmp_path), test_only=True)
    assert sum(sizes(made.comparisons)) == 180 and min(sizes(made.comparisons)) > 0
    where = {}
    for split in data.SPLITS:
        for row in made.comparisons[split]:
            assert where.setdefault(first_human(row.prompt), split) == split


def test_helpfulness_has_parts(tmp_path):
    hh(tmp_path, ('helpful-base', 'helpful-online'), size=6)
    one = data.load('helpfulness', root=str(tmp_path))
    # The same dialogs again: votes are kept.
    two = data.load(
        'helpfulness', root=str(tmp_path), parts=('helpful-base', 'helpful-online')
    )
    assert one.name == two.name == 'helpfulness'
    tags = {row.tags for row in two.comparisons['train']}
    assert tags == {(('part', 'helpful-base'),), (('part', 'helpful-online'),)}
    assert one.comparisons['train'][0].tags == ()
    assert sum(sizes(two.comparisons)) == 2 * sum(sizes(one.comparisons)) == 24
    with pytest.raises(UserError, match=r"data.parts: 'online' is not one of helpful"):
        data.load('helpfulness', root=str(tmp_path), parts=('online',))


def test_equal_answers_are_dropped(tmp_path):
    same = {'chosen': dialog(1, ' a'), 'rejected': dialog(1, 'a ')}
    write_lines(tmp_path / 'harmless-base/test.jsonl', [ROWS[0], same])
    made = data.load('harmlessness', root=str(tmp_path), test_only=True)
    assert made.counts['identical_pairs_dropped'] == 1
    assert sum(sizes(made.comparisons)) == sum(sizes(made.demonstrations)) == 1


@pytest.mark.parametrize(
    ('row', 'said'),
    [
        ({'chosen': dialog(1, ' a')}, "line 2: 'rejected' is missing; fix or delete"),
        (
            {'chosen': dialog(1, ' a'), 'rejected': 3},
            "line 2: 'rejected' is 3, not text",
        ),
        ({'chosen': 'hello', 'rejected': ''}, "line 2: 'chosen' has no 'Assistant:'"),
        ('{"chosen"', 'line 2 is not JSON'),
    ],
)
def test_bad_rows(tmp_path, row, said):
    file = write_lines(tmp_path / 'harmless-base/test.jsonl', [ROWS[0], row])
    with pytest.raises(UserError, match=f'{file}, {said}.*anthropics/hh-rlhf'):
        data.load('harmlessness', root=str(tmp_path), test_only=True)


def test_missing_files_say_where_to_get_them(tmp_path):
    with pytest.raises(UserError, match=r'data.root is not given: get harmless-base'):
        data.load('harmlessness')
    hh(tmp_path, splits=('test',), size=2)
    with pytest.raises(UserError, match=r'no .*train.jsonl.*hh-rlhf.*test_only=True'):
        data.load('harmlessness', root=str(tmp_path))
    with pytest.raises(UserError, match=r'no .*test.jsonl\*: get it from https') as e:
        data.load('harmlessness', root=str(tmp_path / 'x'), test_only=True)
    assert 'test_only' not in str(e.value)


def test_hub_only_when_asked(monkeypatch):
    asked = []

    def load_dataset(repository, split, data_dir):
        asked.append((repository, split, data_dir))
        return ROWS

    monkeypatch.setattr('datasets.load_dataset', load_dataset)
    made = data.load('harmlessness', hub=True)
    name = 'Anthropic/hh-rlhf'
    assert asked == [(name, x, 'harmless-base') for x in ('train', 'test')]
    # Every row of train is in test too.
    assert sizes(made.comparisons)[0] == 0 and sum(sizes(made.comparisons)) == 2


def test_real_test_file(shared):
    made = data.load('harmlessness', root=str(shared / 'data/hh-rlhf'), test_only=True)
    assert sum(sizes(made.comparisons)) == 2303
    assert sizes(made.comparisons) == [1860, 229, 214]
    assert sum(sizes(made.prompts)) == 2301
    assert made.counts == {
        'different_prompts_dropped': 5,
        'empty_responses_dropped': 4,
    }
    tokenizer = data.tokenizers.load('bytes')
    for rows in (made.comparisons, made.demonstrations, made.prompts):
        examples, _ = data.encode(rows['val'], tokenizer, 256, 64)
        assert len(examples) == len(rows['val'])
    groups = [{first_human(x) for x in made.prompts[s]} for s in data.SPLITS]
    assert not groups[0] & groups[1] and not (groups[0] | groups[1]) & groups[2]
