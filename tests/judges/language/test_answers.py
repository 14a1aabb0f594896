"""What was answered once is on the disk and never asked again."""

import json
import threading

import numpy as np
import pytest

from perl.judges import recorded
from perl.judges.language import answers, choose
from perl.judges.language.answers import Answers, remembered
from perl.judges.language.questions import PAIR, PAIRWISE, SCORE
from perl.system.errors import UserError

BRIEF = PAIRWISE['brief']
QUESTIONS = [dict(zip(PAIR, ('p', f'{i}', 'x'), strict=True)) for i in range(7)]


def counted(asked):
    """Chances that depend on the question; notes what it is asked."""

    def chosen(template, questions):
        asked.append(len(questions))
        p = np.array([int(q['first']) / 10 for q in questions])
        return np.stack([p, 1 - p], 1)

    return chosen


def test_a_line_an_answer_and_a_cut_last_line(tmp_path):
    file = tmp_path / 'deep' / 'a.jsonl'
    kept = Answers(file)
    kept.put([{'key': 'a', 'x': 1}])
    kept.put([{'key': 'b', 'x': 'ü\n'}, {'key': 'c', 'x': float('nan')}])
    assert len(file.read_text().splitlines()) == 3
    with file.open('a') as out:
        out.write('{"key": "d", "x"')
    again = Answers(file)
    assert len(again) == 3 and again.get('d') is None
    assert (again.get('b')['x'], again.get('c')['x']) == ('ü\n', None)
    again.put([{'key': 'd', 'x': 4}])
    assert [json.loads(line)['key'] for line in file.read_text().splitlines()] == list(
        'abcd'
    )


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('{"key": "a"}\nnonsense\n', 'line 2 is not a JSON object'),
        ('{"x": 1}\n', 'line 1 is'),
        ('{"key": [1]}\n', 'line 1 is'),
    ],
)
def test_a_damaged_file(tmp_path, text, words):
    (tmp_path / 'a.jsonl').write_text(text)
    with pytest.raises(UserError, match=words):
        Answers(tmp_path / 'a.jsonl')


@pytest.mark.parametrize('chances', [[0.5], [0.5, 2], ['a', 'b'], 'ab', 7, [[0], [1]]])
def test_a_damaged_answer(tmp_path, chances):
    file = tmp_path / 'a.jsonl'
    remembered(counted([]), Answers(file), 'm')(BRIEF, QUESTIONS[:1])
    row = json.loads(file.read_text()) | {'chances': chances}
    file.write_text(json.dumps(row) + '\n')
    again = remembered(counted([]), Answers(file), 'm')
    with pytest.raises(UserError, match=r'the answer with the key .* is damaged'):
        again(BRIEF, QUESTIONS[:1])


def test_threads_share_it(tmp_path):
    kept = Answers(tmp_path / 'a.jsonl')

    def put(worker):
        for i in range(20):
            kept.put([{'key': f'{worker}-{i}', 'text': 'x' * 200}])

    threads = [threading.Thread(target=put, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept) == len(Answers(tmp_path / 'a.jsonl')) == 160


def test_keys_tell_requests_apart():
    one, other = {'model': 'm', 'text': 'a'}, {'text': 'a', 'model': 'm'}
    assert answers.key(one) == answers.key(other), 'whatever the order of the fields'
    assert answers.key(one) != answers.key({**one, 'text': 'b'})
    assert answers.key('ab', 'c') != answers.key('a', 'bc')


def test_remembered(tmp_path):
    asked, file = [], tmp_path / 'a.jsonl'
    known = remembered(counted(asked), Answers(file), 'm', chunk=2)
    first = known(BRIEF, QUESTIONS[:3])
    np.testing.assert_allclose(first[:, 0], [0, 0.1, 0.2])
    assert asked == [2, 1]
    again = remembered(counted(asked), Answers(file), 'm', chunk=2)
    got = again(BRIEF, [*QUESTIONS[::-1], QUESTIONS[0]])
    np.testing.assert_allclose(got[:, 0], [0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0, 0])
    assert asked == [2, 1, 2, 2], 'only the new ones, once each'
    remembered(counted(asked), Answers(file), 'other')(BRIEF, QUESTIONS[:1])
    assert asked[-1] == 1, 'another labeller says something else'


def test_no_verdict_is_remembered_too():
    asked = []

    def silent(template, questions):
        asked.append(len(questions))
        return np.full((len(questions), 2), np.nan)

    kept = remembered(silent, Answers(), 'm')
    for _ in range(2):
        assert np.isnan(kept(BRIEF, QUESTIONS)).all()
    assert asked == [7]


def test_answers_are_a_recorded_file(tmp_path):
    file = tmp_path / 'a.jsonl'
    live = choose.preference(remembered(counted([]), Answers(file), 'm'), BRIEF)
    columns = [[q[field] for q in QUESTIONS] for field in PAIR]
    said = live(*columns)
    np.testing.assert_array_equal(recorded.preference(file)(*columns), said)


def test_scores_are_a_recorded_file(tmp_path):
    def eight(template, questions):
        return np.tile(np.eye(10)[7], (len(questions), 1))

    file = tmp_path / 'a.jsonl'
    live = choose.reward(remembered(eight, Answers(file), 'm'), SCORE)
    assert live(['p', 'q'], ['a', 'b']).tolist() == [2.5 / 4.5] * 2
    assert recorded.reward(file)(['q', 'p'], ['b', 'a']).tolist() == [2.5 / 4.5] * 2
