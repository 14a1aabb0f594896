"""Questions hold the texts as they are; answers are read strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl.judges.language import questions
from perl.judges.language.questions import (
    HARMLESS,
    PAIR,
    PAIRWISE,
    SCORE,
    SINGLE,
)
from perl.system.errors import UserError

EVERY = [*PAIRWISE.values(), HARMLESS, SCORE]


@pytest.mark.parametrize('template', EVERY, ids=lambda t: t.name)
def test_every_template_has_its_fields_once_and_as_many_values_as_options(template):
    assert template.fields in (PAIR, SINGLE)
    for field in template.fields:
        assert template.text.count('{' + field + '}') == 1
    assert len(template.options) == len(template.values)
    for place, option in enumerate(template.options):
        for said in (option, f' {option}.', f'Answer: {option}\n', f'**{option}**'):
            assert template.parse(said) == place, said


@given(st.text(), st.text(), st.text())
def test_texts_go_in_as_they_are(prompt, first, second):
    texts = dict(zip(PAIR, (prompt, first, second), strict=True))
    filled = PAIRWISE['brief'].fill(texts)
    assert filled == f'{prompt}\n1: {first}\n2: {second}\nBetter: '


def test_a_field_in_a_text_is_only_text():
    texts = {'prompt': '{first}', 'first': '{second}', 'second': '\\1 {prompt}'}
    filled = PAIRWISE['brief'].fill(texts)
    assert filled == '{first}\n1: {second}\n2: \\1 {prompt}\nBetter: '


def test_summaries_lose_what_trails():
    texts = {'prompt': 'Post. ', 'first': 'So it is. . ', 'second': 'No.. \n'}
    filled = PAIRWISE['summary'].fill(texts)
    assert 'Post. \n' in filled and 'So it is\n' in filled and 'No\n' in filled


@pytest.mark.parametrize(
    ('template', 'said', 'want'),
    [
        (PAIRWISE['generic'], 'Answer 2 is better.', 1),
        (PAIRWISE['generic'], '1 or 2?', None),
        (PAIRWISE['generic'], 'I prefer 1 over 2', None),
        (PAIRWISE['generic'], 'neither', None),
        (PAIRWISE['generic'], '', None),
        (PAIRWISE['generic'], '12', None),
        (PAIRWISE['generic'], '1.5', None),
        (PAIRWISE['generic'], '1/2', None),
        (PAIRWISE['generic'], '<think>1 is rude, 2 is not</think>\n2', 1),
        (PAIRWISE['generic'], '<think>so 1, 2 and then', None),
        (HARMLESS, 'yes', 0),
        (HARMLESS, 'No, it is rude.', 1),
        (HARMLESS, 'YES and NO', None),
        (HARMLESS, 'Nobody knows', None),
        (SCORE, '10', 9),
        (SCORE, '7/10', 6),
        (SCORE, '10 / 10', 9),
        (SCORE, 'I say 7 out of 10.', 6),
        (SCORE, '7.5', None),
        (SCORE, 'between 6 and 8', None),
        (SCORE, '11', None),
        (SCORE, '0', None),
        (SCORE, '-3', None),
    ],
)
def test_answers(template, said, want):
    assert template.parse(said) == want


def test_scores_span_minus_one_to_one():
    assert SCORE.values[0] == -1 and SCORE.values[-1] == 1
    assert sum(SCORE.values) == pytest.approx(0)


def test_own_file(tmp_path):
    file = tmp_path / 'mine.txt'
    file.write_text('{prompt} A {first} B {second} 1/2?\n')
    mine = questions.pairwise(str(file))
    texts = dict(zip(PAIR, 'xyz', strict=True))
    assert (mine.name, mine.fill(texts)) == ('mine', 'x A y B z 1/2?')
    file.write_text('{prompt} {first}')
    with pytest.raises(UserError, match=r'mine.txt lacks \{second\}'):
        questions.pairwise(str(file))
    file.write_bytes(b'{prompt} {first} {second} \xff')
    with pytest.raises(UserError, match=r'byte 27 of .*mine.txt is not UTF-8'):
        questions.pairwise(str(file))
    with pytest.raises(UserError, match="did you mean 'generic'"):
        questions.pairwise('genric')
