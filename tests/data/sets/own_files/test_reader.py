"""People's own files: every format reads alike, every mistake is named."""

import csv
import gzip
import itertools
import json

import ml_collections
import pyarrow
import pytest
from pyarrow import parquet

from perl import data
from perl.data import Comparison, Demonstration, Rating, split_of
from perl.system.errors import UserError

ROWS = [
    {'prompt': f'question {i}?', 'response': f'answer "{i}",\n{i}', 'label': i % 2}
    for i in range(30)
]


def write(path, rows=ROWS):
    lines = '\n'.join(map(json.dumps, rows))
    if path.name.endswith('.jsonl.gz'):
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == '.jsonl':
        path.write_text(lines)
    elif path.suffix == '.json':
        path.write_text(json.dumps(rows, indent=1))
    elif path.suffix == '.parquet':
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == '.tsv':
        cells = [rows[0], *(row.values() for row in rows)]
        path.write_text(''.join('\t'.join(map(str, row)) + '\n' for row in cells))
    else:
        with path.open('w', newline='') as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
    return path


@pytest.mark.parametrize(
    'name', ['a.jsonl', 'a.jsonl.gz', 'a.json', 'a.csv', 'a.tsv', 'a.parquet']
)
def test_formats(tmp_path, name):
    rows = ROWS
    if name == 'a.tsv':  # no cell of it can have a line end
        rows = [{**x, 'response': x['response'].replace('\n', ' ')} for x in ROWS]
    made = data.load('files', ratings=write(tmp_path / name, rows)).ratings
    expected = [
        Rating(row['prompt'], row['response'], float(row['label'])) for row in rows
    ]
    assert sorted(itertools.chain(*made.values()), key=str) == sorted(expected, key=str)
    for split, rows in made.items():
        assert rows and all(split_of(row.prompt) == split for row in rows)


@pytest.mark.parametrize('name', ['a.jsonl', 'a.json', 'a.csv'])
@pytest.mark.parametrize(
    'text', ['2020-01-01', '2020-01-02T10:00:00Z', '007', '1e5', 'NA']
)
def test_strings_stay_strings(tmp_path, name, text):
    rows = [{'prompt': text, 'response': text}]
    made = data.load('files', demonstrations=write(tmp_path / name, rows))
    found = [*itertools.chain(*made.demonstrations.values())]
    assert found == [Demonstration(text, text)]


def test_a_long_cell_and_lines_within(tmp_path):
    rows = [{'prompt': 'x' * 200_000, 'response': 'a\r\n"b"\n\u2028c'}]
    made = data.load('files', demonstrations=write(tmp_path / 'a.csv', rows))
    found = [*itertools.chain(*made.demonstrations.values())]
    assert found == [Demonstration(*rows[0].values())]


def test_rows_of_other_columns_and_kinds_elsewhere(tmp_path):
    rows = [
        {'prompt': 'p', 'meta': {'a': 1}},
        {'prompt': 'q', 'meta': 'x', 'n': 10**30},
        {'prompt': 'r', 'meta': []},
    ]
    made = data.load('files', prompts=write(tmp_path / 'a.jsonl', rows)).prompts
    assert sorted(itertools.chain(*made.values())) == ['p', 'q', 'r']


def test_columns_templates_and_given_splits(tmp_path):
    rows = [{'q': 'why?', 'good': 'so', 'bad': 'no'}]
    source = {
        'path': {
            'train': write(tmp_path / 'a.jsonl', rows),
            'test': tmp_path / 'b.tsv',
        },
        'columns': {'prompt': 'q', 'chosen': 'good', 'rejected': 'bad'},
        'prompt': 'Q: {prompt}\nA:',
        'response': ' {response}',
    }
    write(tmp_path / 'b.tsv', [{'q': '{}', 'good': '{response}', 'bad': 'b'}])
    made = data.load('files', comparisons=source).comparisons
    assert made['train'] == [Comparison('Q: why?\nA:', (' so', ' no'))]
    assert made['test'] == [Comparison('Q: {}\nA:', (' {response}', ' b'))]
    assert made['val'] == []


@pytest.mark.parametrize('splits', [False, True])
def test_records_know_their_group(tmp_path, splits):
    """Also in splits that are made already."""
    rows = [
        {'prompt': f'p{i}', 'response': 'r', 'label': 1, 'dialog': f'd{i // 5}'}
        for i in range(10)
    ]
    file = write(tmp_path / 'a.jsonl', rows)
    source = {'path': {'test': file} if splits else file, 'group': 'dialog'}
    made = data.load('files', ratings=source, prompts=source, shares=(0, 0, 1))
    assert {(x.prompt, x.group) for x in made.ratings['test']} == {
        (row['prompt'], row['dialog']) for row in rows
    }
    assert made.prompt_groups == {row['prompt']: row['dialog'] for row in rows}
    plain = data.load('files', ratings=file, prompts=file, shares=(0, 0, 1))
    assert {x.group for x in plain.ratings['test']} == {''}
    assert plain.prompt_groups == {}


def test_rankings_and_groups(tmp_path):
    rows = [
        {'prompt': f'p{i}', 'ranked': ['best', 'good', 'bad'], 'topic': 'one'}
        for i in range(30)
    ]
    source = {
        'path': write(tmp_path / 'a.jsonl', rows),
        'columns': {'completions': 'ranked'},
        'group': 'topic',
    }
    made = data.load('files', comparisons=source).comparisons
    assert [len(rows) for rows in made.values() if rows] == [30]
    assert made[split_of('one')][3] == Comparison('p3', ('best', 'good', 'bad'))


PAIR = {'prompt': 'p', 'chosen': 'a', 'rejected': 'b'}


@pytest.mark.parametrize('name', ['a.jsonl', 'a.csv', 'a.parquet'])
def test_margin_and_preference(tmp_path, name):
    rows = [{**PAIR, 'margin': 1.5, 'preference': 0.75}, {**PAIR, 'margin': 0}]
    if name != 'a.csv':
        rows[1]['preference'] = None
    source = {'path': {'train': write(tmp_path / name, rows)}}
    made = data.load('files', comparisons=source).comparisons['train']
    want = [Comparison('p', ('a', 'b'), 1.5, 0.75), Comparison('p', ('a', 'b'))]
    assert made == want


def test_margin_and_preference_by_other_names(tmp_path):
    rows = [{**PAIR, 'gap': 2, 'sure': 0.25, 'margin': 'in words'}]
    columns = {'margin': 'gap', 'preference': 'sure'}
    source = {'path': {'train': write(tmp_path / 'a.jsonl', rows)}, 'columns': columns}
    made = data.load('files', comparisons=source).comparisons['train']
    assert made == [Comparison('p', ('a', 'b'), 2.0, 0.25)]
    source['columns'] = {'margin': 'gapp'}
    with pytest.raises(UserError, match="no column 'gapp'; did you mean 'gap'"):
        data.load('files', comparisons=source)


def test_strength_of_a_ranking(tmp_path):
    rows = [{'prompt': 'p', 'completions': ['a', 'b', 'c'], 'margin': 0.5}]
    path = {'train': write(tmp_path / 'a.jsonl', rows)}
    source = {'path': path, 'columns': {'completions': 'completions'}}
    made = data.load('files', comparisons=source).comparisons['train']
    assert made == [Comparison('p', ('a', 'b', 'c'), 0.5)]


@pytest.mark.parametrize(
    ('said', 'message'),
    [
        ({'preference': 1.5}, r"line 1: 'preference' is 1.5, not between 0 and 1"),
        ({'preference': 'x'}, r"line 1: 'preference' is 'x', not a number"),
        ({'margin': -1}, r"line 1: 'margin' is -1.0, not a finite number"),
        ({'margin': 'inf'}, r"line 1: 'margin' is inf, not a finite number"),
        ({'margin': [1]}, r"line 1: 'margin' is \[1\], not a number"),
    ],
)
def test_bad_strength(tmp_path, said, message):
    path = {'train': write(tmp_path / 'a.jsonl', [{**PAIR, **said}])}
    with pytest.raises(UserError, match=message):
        data.load('files', comparisons={'path': path})


def test_text_and_prompts(tmp_path):
    write(tmp_path / 'a.json', [{'text': 'once'}])
    write(tmp_path / 'b.json', [{'prompt': 'why'}])
    files = {'text': tmp_path / 'a.json', 'prompts': tmp_path / 'b.json'}
    made = data.load('files', shares=(1, 0, 0), **files)
    assert made.text['train'] == ['once'] and made.prompts['train'] == ['why']


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ({'response': None}, r"a.jsonl, line 2: 'response' is missing"),
        ({'response': 3}, r"a.jsonl, line 2: 'response' is 3, not text"),
        ({'response': ' '}, r"a.jsonl, line 2: 'response' is empty"),
        ({'prompt': ['x']}, r"a.jsonl, line 2: 'prompt' is \['x'\], not text"),
        ({'label': 'good'}, r"a.jsonl, line 2: 'label' is 'good', not a number"),
        ({'label': 7}, r"a.jsonl, line 2: 'label' is 7.0, not between"),
    ],
)
def test_bad_rows(tmp_path, row, message):
    write(tmp_path / 'a.jsonl', [ROWS[0], {**ROWS[1], **row}])
    with pytest.raises(UserError, match=message):
        data.load('files', ratings=tmp_path / 'a.jsonl')


def test_rankings_too_short(tmp_path):
    write(tmp_path / 'a.jsonl', [{'prompt': 'p', 'completions': ['a']}])
    source = {'path': tmp_path / 'a.jsonl', 'columns': {'completions': 'completions'}}
    with pytest.raises(UserError, match=r'line 1: .*list of two or more'):
        data.load('files', comparisons=source)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.jsonl', '{"prompt": "x"}\n{"prompt": \n', 'line 2.* is not JSON'),
        ('a.json', '[{"prompt": "x"},\n{"prompt"]', 'row 2.* is not JSON'),
        ('a.csv', 'prompt,b\n1,2\n1,2,3,4\n', 'line 3 has 4 cells, the header 2'),
        ('a.csv', 'prompt,b\nx,y,z\nx,y,z\n', 'a.csv, line 2 has 3 cells, the header'),
        ('a.csv', 'prompt,b\nx,y,\n', "remove the extra cells, or put .* ','"),
        ('a.csv', 'b,prompt\n1\n', "line 2: 'prompt' is missing"),
        ('a.csv', 'prompt,b\n"x,y\nz,y\n', 'a.csv, line 3: .*put a cell with quo'),
        (
            'a.tsv',
            'prompt\tb\nx\ty\tz\n',
            'line 2 has 3 cells, .* replace a tab',
        ),
        ('a.jsonl', '{"prompt": "a\u2028\u2028"}\n{"prompt"', 'line 2.* is not JSON'),
        ('a.jsonl', '{"prompt": "a"}\n[1]\n', r'line 2 is \[1\], not an object'),
        ('a.jsonl', '{"prompt": 1%s}' % ('0' * 5000), 'line 1 is not JSON'),
        ('a.json', '\n[{"prompt": "x"},\n{"prompt"]', 'row 2, line 3 is not JSON'),
        ('a.parquet', 'PAR', 'damaged'),
        ('a.parquet.gz', 'PAR', 'gunzip it'),
        ('a.jsonl', '', 'has no rows'),
        ('a.txt', 'x', 'there is no reader for .txt'),
        ('a.jsonl', '{"promt": "x"}', "no column 'prompt'; did you mean 'promt'"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        data.load('files', prompts=tmp_path / name)


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('nowhere.jsonl', 'no file nowhere.jsonl'),
        ({'pth': 'x'}, "no setting 'pth'; did you mean 'path'"),
        ({'columns': {}}, 'path is missing'),
        ({'path': 'x', 'columns': {'pront': 'p'}}, "did you mean 'prompt'"),
        ({'path': 'x', 'prompt': 'Q:'}, 'prompts.prompt: the template lacks {prompt}'),
        ({'path': {'trian': 'x'}}, "did you mean 'train'"),
        (3, 'prompts: 3 is neither a path nor settings'),
        ({'path': 3}, 'prompts.path: 3 is not a path, a list of paths, or'),
        ({'path': 'x', 'columns': 'prompt'}, "columns: 'prompt' is not a mapping"),
        ({'path': 'x', 'columns': {'prompt': 3}}, 'columns.prompt: 3 is not a name'),
        ({'path': 'x', 'prompt': None}, 'prompts.prompt: None is not a text'),
    ],
)
def test_bad_sources(source, message):
    with pytest.raises(UserError, match=message):
        data.load('files', prompts=source)


@pytest.mark.parametrize(
    'shares', [(1, 0, 0, 1), (0, 0, 0), (-1, 1, 1), (0.8, 0.1, 0.1), (8, 2)]
)
def test_bad_shares(tmp_path, shares):
    path = write(tmp_path / 'a.jsonl')
    with pytest.raises(UserError, match=r'shares: .* are not three whole numbers'):
        data.load('files', prompts=path, shares=shares)


def test_no_source():
    with pytest.raises(UserError, match='name a file for one of text, demonstrations'):
        data.load('files')


def test_settings_from_a_config(tmp_path):
    path = {'val': str(write(tmp_path / 'a.parquet'))}
    source = ml_collections.ConfigDict(
        {'path': path, 'columns': {'prompt': 'response'}}
    )
    made = data.load('files', prompts=source)
    assert made.prompts['val'] == [row['response'] for row in ROWS]


def test_text_of_prompts_and_responses(tmp_path):
    """It is in the split of its prompt, and leaks with it."""
    file = write(tmp_path / 'a.jsonl', [{**PAIR, 'prompt': f'p{i}'} for i in range(40)])
    text = {
        'path': file,
        'columns': {'response': 'chosen'},
        'prompt': 'Q: {prompt}\nA:',
        'response': ' {response}',
    }
    made = data.load('files', text=text, comparisons=file)
    for split, rows in made.comparisons.items():
        assert rows and not made.counts
        assert made.text[split] == [f'Q: {row.prompt}\nA: a' for row in rows]
    made = data.load('files', text={**text, 'path': {'train': file}}, comparisons=file)
    assert len(made.text['train']) == len(made.comparisons['train'])
    assert made.counts['leaks_dropped'] == 40 - len(made.comparisons['train'])
    with pytest.raises(UserError, match='name the column of response'):
        data.load('files', text={'path': file, 'columns': {'prompt': 'prompt'}})


def kept(made, kind):
    """How many records of a kind are in train, val and test."""
    return [len(rows) for rows in getattr(made, kind).values()]


def given_splits(file):
    return dict.fromkeys(('train', 'val', 'test'), file)


KINDS = {
    'text': {'text': 'a text'},
    'demonstrations': {'prompt': 'p', 'response': 'a'},
    'comparisons': {'prompt': 'p', 'chosen': 'a', 'rejected': 'b'},
    'ratings': {'prompt': 'p', 'response': 'a', 'label': 1},
    'prompts': {'prompt': 'p'},
}


@pytest.mark.parametrize('kind', KINDS)
def test_rows_of_several_splits_are_left_in_the_most_held_out(tmp_path, kind):
    field = next(iter(KINDS[kind]))
    rows = [{**KINDS[kind], field: f'{i} of {field}'} for i in range(20)]
    file = write(tmp_path / 'a.jsonl', rows)
    made = data.load('files', **{kind: {'path': given_splits(file)}})
    assert kept(made, kind) == [0, 0, 20] and made.counts == {'leaks_dropped': 40}


@pytest.mark.parametrize('kind', list(KINDS)[1:])
@pytest.mark.parametrize('other', list(KINDS)[1:])
def test_prompts_of_a_held_out_split_are_in_no_other_kind(tmp_path, kind, other):
    """Up to white space, and whatever the templates."""
    seen = {**KINDS[kind], 'prompt': ' why \u00a0is\nit'}
    fresh = {**KINDS[kind], 'prompt': 'why not'}
    held_out = {**KINDS[other], 'prompt': 'why is it '}
    train = write(tmp_path / 'train.jsonl', [seen, fresh])
    test = write(tmp_path / 'test.jsonl', [held_out])
    if kind == other:
        sources = {kind: {'path': {'train': train, 'test': test}}}
    else:
        sources = {
            kind: {'path': {'train': train}, 'prompt': 'Q: {prompt}\nA:'},
            other: {'path': {'test': test}},
        }
    made = data.load('files', **sources)
    assert made.counts['leaks_dropped'] == 1
    assert len(getattr(made, kind)['train']) == 1
    assert len(getattr(made, other)['test']) == 1


def test_white_space_does_not_decide_the_split(tmp_path):
    """Neither that of a prompt nor that of a group: so nothing leaks."""
    prompts = [f'question number {i}?' for i in range(30)]
    plain = [{'prompt': x, 'response': 'a', 'of': f'dialog {x}'} for x in prompts]
    spaced = [
        {'prompt': row['prompt'].replace(' ', ' \n'), 'of': f' {row["of"]} '}
        for row in plain
    ]
    for group in (None, 'of'):
        made = data.load(
            'files',
            demonstrations={'path': write(tmp_path / 'a.jsonl', plain), 'group': group},
            prompts={'path': write(tmp_path / 'b.jsonl', spaced), 'group': group},
        )
        assert not made.counts and min(kept(made, 'prompts')) > 0
        for split, rows in made.prompts.items():
            words = [x.prompt.split() for x in made.demonstrations[split]]
            assert [x.split() for x in rows] == words
    assert set(made.prompt_groups.values()) == {x['of'] for x in plain}


def test_a_prompt_with_its_template_is_the_same_prompt(tmp_path):
    train = write(tmp_path / 'train.jsonl', [{'prompt': 'Q: why?\nA:'}])
    test = write(tmp_path / 'test.jsonl', [{'prompt': 'why?', 'response': 'so'}])
    made = data.load(
        'files',
        prompts={'path': {'train': train}},
        demonstrations={'path': {'test': test}, 'prompt': 'Q: {prompt}\nA:'},
    )
    assert kept(made, 'prompts') == [0, 0, 0] and made.counts == {'leaks_dropped': 1}


@pytest.mark.parametrize('kind', ['demonstrations', 'comparisons', 'ratings'])
def test_a_text_that_is_a_prompt_with_its_response_leaks(tmp_path, kind):
    train = write(tmp_path / 'a.jsonl', [{'text': 'why? a'}, {'text': 'why? other'}])
    test = write(tmp_path / 'b.jsonl', [{**KINDS[kind], 'prompt': 'why?'}])
    source = {'path': {'test': test}, 'response': ' {response}'}
    made = data.load('files', text={'path': {'train': train}}, **{kind: source})
    assert (
        made.text['train'] == ['why? other'] and len(getattr(made, kind)['test']) == 1
    )
    assert made.counts == {'leaks_dropped': 1}


def test_groups_of_given_splits(tmp_path):
    """A dialog of two splits is left in the more held-out one."""
    rows = [{'prompt': f'p{i}', 'response': 'r', 'dialog': i // 2} for i in range(8)]
    path = {
        'train': write(tmp_path / 'a.jsonl', rows[:5]),
        'val': write(tmp_path / 'b.jsonl', rows[5:]),
    }
    made = data.load('files', demonstrations={'path': path, 'group': 'dialog'})
    assert kept(made, 'demonstrations') == [4, 3, 0]
    assert made.counts == {'leaks_dropped': 1}


def test_rows_without_a_prompt_are_told_by_their_responses(tmp_path):
    rows = [{'prompt': '', 'response': f'r{i}'} for i in range(40)]
    file = write(tmp_path / 'a.jsonl', rows)
    made = data.load('files', demonstrations=file, shares=(1, 1, 1))
    assert sum(kept(made, 'demonstrations')) == 40 and all(kept(made, 'demonstrations'))
    path = {'train': write(tmp_path / 'b.jsonl', rows[:30]), 'test': file}
    source = {'path': path, 'prompt': 'Say something. {prompt}'}
    made = data.load('files', demonstrations=source)
    assert kept(made, 'demonstrations') == [0, 0, 40]
    path['test'] = write(tmp_path / 'c.jsonl', rows[30:])
    made = data.load('files', demonstrations={**source, 'path': path})
    assert kept(made, 'demonstrations') == [30, 0, 10] and not made.counts


@pytest.mark.parametrize('number', [3, 3.0, '3'])
def test_a_number_is_a_fine_group(tmp_path, number):
    rows = [{'prompt': f'p{i}', 'dialog': number} for i in range(9)]
    source = {'path': write(tmp_path / 'a.parquet', rows), 'group': 'dialog'}
    made = data.load('files', prompts=source).prompts
    assert len(made[split_of('3')]) == 9


def test_columns_in_a_template(tmp_path):
    rows = [
        {'prompt': 'why?', 'chosen': 'so', 'rejected': 'no', 'system': 'Be {kind}.'}
    ]
    source = {
        'path': {'train': write(tmp_path / 'a.jsonl', rows)},
        'prompt': '{system}\n{{system}} {prompt}',
        'response': ' {response} ({prompt})',
    }
    made = data.load('files', comparisons=source).comparisons['train']
    assert made == [
        Comparison('Be {kind}.\n{system} why?', (' so (why?)', ' no (why?)'))
    ]
    source['prompt'] = '{sytem} {prompt}'
    says = r"no column 'sytem'; did you mean 'system'.*prompt has {sytem} in its temp"
    with pytest.raises(UserError, match=says):
        data.load('files', comparisons=source)


def test_the_field_that_has_no_column_is_named(tmp_path):
    file = write(tmp_path / 'a.jsonl', [{'question': 'why?'}])
    says = r"no column 'prompt'.*name the column of prompt as prompts.columns.prompt$"
    with pytest.raises(UserError, match=says):
        data.load('files', prompts=file)
    with pytest.raises(UserError, match=r"no column 'topic'.*; prompts.group names it"):
        columns = {'prompt': 'question'}
        data.load('files', prompts={'path': file, 'columns': columns, 'group': 'topic'})


def test_what_may_not_be_meant_is_counted(tmp_path):
    pairs = [
        {**PAIR, 'prompt': 'p0', 'margin': 0.5, 'preference': 0.75},
        {**PAIR, 'prompt': 'p1', 'rejected': ' a'},
        {**PAIR, 'prompt': 'p2', 'preference': 0.5},
    ]
    made = data.load(
        'files',
        comparisons=write(tmp_path / 'a.jsonl', pairs),
        prompts={'path': tmp_path / 'a.jsonl', 'columns': {'prompt': 'chosen'}},
    )
    assert made.counts == {
        'margins_read': 1,
        'preferences_read': 2,
        'equal_completions': 1,
        'prompts_equal_to_responses': 3,
    }


@pytest.mark.parametrize('column', ['chosen', 'rejected'])
def test_a_response_that_is_the_prompt_is_counted(tmp_path, column):
    rows = [{**PAIR, 'prompt': f'p{i}', column: f' p{i}'} for i in range(3)]
    rows.append({**PAIR, 'prompt': 'p3'})
    made = data.load('files', comparisons=write(tmp_path / 'a.jsonl', rows))
    assert made.counts == {'responses_equal_to_their_prompt': 3}
    columns = {'prompt': 'prompt', 'response': column}
    file = {'path': tmp_path / 'a.jsonl', 'columns': columns}
    made = data.load('files', demonstrations=file)
    assert made.counts == {'responses_equal_to_their_prompt': 3}


def test_files_of_one_kind(tmp_path):
    """A list, a folder and a pattern; rankings may have different lengths."""
    folder = tmp_path / 'all'
    folder.mkdir()
    for i in range(3):
        ranked = [f'best {i}', *(f'{k}' for k in range(i + 1))]
        rows = [{'prompt': f'p{i}', 'completions': ranked}]
        write(folder / f'{i}.jsonl', rows)
    listed = [folder / '0.jsonl', str(folder / '1.jsonl'), folder / '2.jsonl']
    for path in (listed, tuple(listed), folder, f'{folder}/*.jsonl'):
        source = {'path': {'test': path}, 'columns': {'completions': 'completions'}}
        made = data.load('files', comparisons=source).comparisons['test']
        assert [len(row.completions) for row in made] == [2, 3, 4]
        assert [row.prompt for row in made] == ['p0', 'p1', 'p2']
