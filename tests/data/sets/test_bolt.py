"""BOLT: conversations from XML, redacted; summaries from a table of one's own."""

import pytest
from released import bolt, conversation, write_lines

from perl import data
from perl.data.sets import bolt as reader
from perl.system.errors import UserError


def write(root, files, summaries):
    for name, text in files.items():
        (root / f'{name}.xml').write_text(text)
    write_lines(root / 'summaries.jsonl', summaries)
    return str(root)


def every(rows):
    """The rows of all splits."""
    return [*rows['train'], *rows['val'], *rows['test']]


def one(root, *bodies):
    """The prompt of a conversation in a folder of its own."""
    rows = [{'conversation': 'c', 'summary': 's'}]
    made = data.load('bolt', root=write(root, {'a': conversation('c', bodies)}, rows))
    (prompt,) = every(made.prompts)
    return prompt, made.counts


def test_conversation_to_records(tmp_path):
    prompt, _ = one(tmp_path, 'hi\n  you', 'oh &amp; <b>hi</b>', 'bye')
    assert prompt == 'A: hi you\nB: oh & hi\nA: bye\n\nTL;DR:'
    made = data.load('bolt', root=str(tmp_path))
    split = data.split_of('c', reader.SHARES)
    assert made.demonstrations[split] == [data.Demonstration(prompt, ' s')]
    assert made.text[split] == [prompt + ' s']


@pytest.mark.parametrize(
    ('body', 'said', 'count'),
    [
        ('call 215-555-0123 now', 'call [phone] now', 1),
        ('(215) 555 0123 or +1 215.555.0199', '[phone] or [phone]', 2),
        ('2155550123!', '[phone]!', 1),
        ('at 10:30 on 5/12, 25 of us in 2012', 'at 10:30 on 5/12, 25 of us in 2012', 0),
        ('it cost 1,250.50', 'it cost 1,250.50', 0),
        ('555 - 123 - 4567', '[phone]', 1),
        ('555–123–4567', '[phone]', 1),
        ('5551234567ok', '[phone]ok', 1),
        ('at5551234567', 'at[phone]', 1),
        ('tel.5551234567, 1.8005551234', 'tel.[phone], [phone]', 2),
        ('555-1234', '[phone]', 1),
        ('1990-2012 or 1990 - 2012', '1990-2012 or 1990 - 2012', 0),
        ('pi is 3.14159265.', 'pi is 3.14159265.', 0),
        ('2012-10-11 1230', '2012-10-11 1230', 0),
        ('2012-10-11 12', '2012-10-11 12', 0),
        ('11-10-2012, 10.30 - 11.30', '11-10-2012, 10.30 - 11.30', 0),
    ],
)
def test_phone_numbers_are_redacted(tmp_path, body, said, count):
    prompt, counts = one(tmp_path, body)
    assert prompt == f'A: {said}\n\nTL;DR:'
    assert counts['phone_numbers_redacted'] == count


def test_what_is_empty_is_counted(tmp_path):
    files = {
        'a': conversation('a', ['x', ' ', 'y']),
        'b': conversation('b', [' ']),
        'c': conversation('c', ['z']),
    }
    root = write(tmp_path, files, [{'conversation': 'a', 'summary': 's'}])
    made = data.load('bolt', root=root)
    assert made.counts['empty_messages_dropped'] == 2
    assert made.counts['empty_conversations_dropped'] == 1
    assert made.counts['conversations_without_summary'] == 1
    assert 'A: z' in every(made.text)
    assert every(made.prompts) == ['A: x\nA: y\n\nTL;DR:']


def test_ids_come_from_the_file_where_the_xml_has_none(tmp_path):
    text = conversation('x', ['hi']).replace(' id="x"', '')
    root = write(tmp_path, {'name': text}, [{'conversation': 'name', 'summary': 's'}])
    assert sum(map(len, data.load('bolt', root=root).prompts.values())) == 1
    both = f'<collection>{text.partition("?>")[2]}</collection>'
    with pytest.raises(UserError, match=r'name.xml: a <conversation> has no id; give'):
        data.load('bolt', root=write(tmp_path, {'name': both}, []))


def test_an_id_of_two_conversations(tmp_path):
    rows = [{'conversation': 'c', 'summary': 's'}]
    files = {name: conversation('c', ['hi']) for name in 'ab'}
    made = data.load('bolt', root=write(tmp_path, files, rows))
    assert every(made.prompts) == ['A: hi\n\nTL;DR:']
    assert made.counts['repeated_conversations_dropped'] == 1
    files['b'] = conversation('c', ['bye'])
    with pytest.raises(
        UserError, match=r"a.xml and .*b.xml have different .*'c'; chang"
    ):
        data.load('bolt', root=write(tmp_path, files, rows))


def test_splits_in_the_proportions_of_the_paper(tmp_path):
    made = data.load('bolt', root=str(bolt(tmp_path, 300)))
    sizes = [len(rows) for rows in made.prompts.values()]
    assert sum(sizes) == 300 and 240 <= sizes[0] <= 270 and sizes[2] >= 4


def test_splits_that_the_table_names(tmp_path):
    bolt(tmp_path, 3)
    rows = [
        {'conversation': f'SMS_{n}', 'summary': 's', 'part': part}
        for n, part in enumerate(data.SPLITS)
    ]
    write_lines(tmp_path / 'mine.jsonl', rows)
    made = data.load('bolt', root=str(tmp_path), summaries='mine.jsonl', split='part')
    assert [len(rows) for rows in made.prompts.values()] == [1, 1, 1]
    write_lines(tmp_path / 'mine.jsonl', [rows[0] | {'part': 'dev'}])
    with pytest.raises(UserError, match="line 1: 'part' is 'dev', not one of train"):
        data.load('bolt', root=str(tmp_path), summaries='mine.jsonl', split='part')


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('<conversation', 'a.xml is not XML'),
        ('<talk/>', 'a.xml has no <conversation>; remove it from data.root'),
        (
            conversation('a', ['x', 'y']).replace(' participant="101"', ''),
            'a.xml, message 2: it has no participant; fix',
        ),
        (
            conversation('a', ['x']).replace('body>', 'text>'),
            'a.xml, message 1: it has no <body>; fix',
        ),
    ],
)
def test_bad_xml(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        data.load('bolt', root=write(tmp_path, {'a': text}, []))


@pytest.mark.parametrize(
    ('row', 'said'),
    [
        ({'conversation': 'b', 'summary': 's'}, "line 1: no .xml .* conversation 'b'"),
        ({'conversation': 'a', 'summary': ' '}, "line 1: 'summary' is empty"),
        ({'conversation': 'a', 'summery': 's'}, "no column 'summary'; did you mean"),
    ],
)
def test_bad_summaries(tmp_path, row, said):
    root = write(tmp_path, {'a': conversation('a', ['x'])}, [row])
    with pytest.raises(UserError, match=f'summaries.jsonl.*{said}'):
        data.load('bolt', root=root)


def test_missing_files_say_where_to_get_them(tmp_path):
    with pytest.raises(UserError, match=r'no .*xml: get it from .*LDC2018T19'):
        data.load('bolt', root=str(tmp_path))
    (tmp_path / 'a.xml').write_text(conversation('a', ['x']))
    with pytest.raises(UserError, match=r'no .*summaries.jsonl: put a table'):
        data.load('bolt', root=str(tmp_path))


def test_letters_do_not_run_out():
    made = [reader._letter(place) for place in range(60)]
    assert made[:2] == ['A', 'B'] and made[26] == 'A1' and len(set(made)) == 60
