"""A real server on loopback that answers well, slowly, wrongly and not at all."""

import collections
import json
import os
import signal
import threading
import time

import chat
import numpy as np
import pytest
from asked import BRIEF, GOOD, LONGER, PAIRS, after, ask, endpoint, one
from chat import Reply

from perl.judges import recorded
from perl.judges.language import choose
from perl.judges.language.completions import read
from perl.judges.language.questions import HARMLESS, SCORE
from perl.system.errors import UserError


def test_what_is_sent_and_what_comes_back(tmp_path, monkeypatch):
    monkeypatch.setenv('MY_KEY', 'secret-7')
    file = tmp_path / 'a.jsonl'
    with chat.serve(chat.longer) as server:
        judge = endpoint(server, file, client={'key_env': 'MY_KEY'})
        got = ask(judge)
        assert got.tolist() == LONGER
        assert ask(judge).tolist() == LONGER
    assert len(server.requests) == 6, 'and the second time nothing was sent'
    body = next(b for b in server.requests if 'p2' in b['messages'][0]['content'])
    assert body['messages'] == [
        {'role': 'user', 'content': 'p2\n1: ccc\n2: xx\nBetter: '}
    ]
    assert (body['model'], body['temperature'], body['max_tokens']) == ('m', 0, 16)
    assert body['logprobs'] is True
    assert server.headers[0]['Authorization'] == 'Bearer secret-7'
    assert 'secret' not in file.read_text()
    counts = {'requests': 6, 'cached': 6, 'retries': 0, 'refused': 0, 'unparsable': 0}
    assert judge.report() == counts


def test_no_key_unless_named(monkeypatch):
    monkeypatch.setenv('OPENAI_API_KEY', 'secret')
    with chat.serve(after()) as server:
        assert one(endpoint(server)) == 1
    assert 'Authorization' not in server.headers[0]


def test_the_same_question_is_asked_once():
    with chat.serve(after()) as server:
        got = ask(endpoint(server), [['p'] * 20, ['a'] * 20, ['b'] * 20])
    assert got.tolist() == [1] * 20 and len(server.requests) == 1


def test_other_fields_of_a_request():
    extra = {'max_tokens': None, 'max_completion_tokens': 9, 'temperature': 1}
    with chat.serve(after()) as server:
        one(endpoint(server, extra=extra, logprobs=False))
    body = server.requests[0]
    assert body.keys() == {'model', 'messages', 'temperature', 'max_completion_tokens'}
    assert body['temperature'] == 1


def test_soft_labels():
    chances = {' 2': 0.6, '1': 0.1, '2': 0.1, 'The': 0.1, ' 1': 0.1}
    with chat.serve(after(then=Reply('2', chances=chances))) as server:
        assert one(endpoint(server)) == pytest.approx(0.2 / 0.9)


def test_scores_and_rates():
    def answer(body, number):
        if 'harmless' in body['messages'][0]['content']:
            return Reply('Yes', chances={'Yes': 0.75, 'NO': 0.25})
        return Reply('8', chances={'8': 0.5, '9': 0.25, '10': 0.25})

    with chat.serve(answer) as server:
        judge = endpoint(server)
        score = choose.reward(judge, SCORE)(['p'], ['r'])
        rate = choose.reward(judge, HARMLESS)(['p'], ['r'])
    assert server.requests[0]['top_logprobs'] == 20
    assert score == pytest.approx((8.75 - 5.5) / 4.5) and rate == pytest.approx(0.75)


def choice(text, *tokens):
    """A choice with the log-probs of its tokens: (token, {token: log-prob})."""
    content = [
        {
            'token': token,
            'logprob': -0.1,
            'top_logprobs': [{'token': t, 'logprob': x} for t, x in top.items()],
        }
        for token, top in tokens
    ]
    return {'message': {'content': text}, 'logprobs': {'content': content}}


@pytest.mark.parametrize(
    ('said', 'template', 'want'),
    [
        (choice('Answer 2', ('Answer', {}), (' 2', {'1': -0.1})), BRIEF, [0.5, 0.5]),
        (choice('1', ('1', {'1': -0.1, '0': -3})), BRIEF, [1, 0]),
        (choice('<think>1</think>2', ('1', {'1': 0}), ('</think>', {}),
                ('2', {'1': -0.1})), BRIEF, [0.5, 0.5]),
        # in two tokens there is no one distribution to read: the text alone counts
        (choice('10', ('1', {'1': 0, '2': -1}), ('0', {})), SCORE, np.eye(10)[9]),
        # where digits are tokens, the "1" of another answer may be that of "10"
        (choice('9', ('9', {'9': -0.1, '1': -0.5, '8': -0.1})), SCORE,
         [0] * 7 + [0.5, 0.5, 0]),
        (choice('1', ('1', {'1': -0.1, '8': -0.1})), SCORE,
         [0.5] + [0] * 6 + [0.5, 0, 0]),
        (choice('9', ('9', {'9': -0.1, '1': -0.1, '10': -0.1})), SCORE,
         np.eye(10)[[0, 8, 9]].mean(0)),
        ({'message': {'content': '1'}, 'logprobs': None}, BRIEF, [1, 0]),
        ({'message': {'content': '1'}, 'logprobs': {'content': None}}, BRIEF, [1, 0]),
        ({'message': {'content': '1'}, 'logprobs': {'tokens': ['1']}}, BRIEF, [1, 0]),
        (choice('1', ('1', {'1': None})), BRIEF, [1, 0]),
        (choice('perhaps', ('1', {'1': 0})), BRIEF, None),
        ({'message': {'content': None}}, BRIEF, None),
        ({'message': {'content': [{'text': '1'}]}}, BRIEF, None),
    ],
)  # fmt: skip
def test_reading(said, template, want):
    _, chances = read(said, template)
    if want is None:
        assert chances is None
    else:
        np.testing.assert_allclose(chances, want)


def test_nonsense_is_asked_again_and_then_no_verdict(tmp_path):
    file = tmp_path / 'a.jsonl'
    with chat.serve(after(then=Reply('I could not say.'))) as server:
        judge = endpoint(server, file, again=2)
        assert np.isnan(one(judge))
        assert len(server.requests) == 3
        roles = [m['role'] for m in server.requests[-1]['messages']]
        assert roles == ['user', 'assistant', 'user', 'assistant', 'user']
        said = [m['content'] for m in server.requests[-1]['messages'][1:3]]
        assert said == ['I could not say.', BRIEF.reminder]
        assert judge.report()['unparsable'] == 3
        resumed = endpoint(server, file, again=2)
        assert np.isnan(one(resumed)) and len(server.requests) == 3, 'known by now'
    assert np.isnan(recorded.preference(file)('p', 'a', 'b'))


def test_nonsense_that_is_mended(tmp_path):
    file = tmp_path / 'a.jsonl'
    with chat.serve(after(Reply('Hm?'), Reply(None))) as server:
        judge = endpoint(server, file)
        assert one(judge) == 1
        assert judge.report()['unparsable'] == 2
        assert server.requests[2]['messages'][3]['content'] == '(nothing)'
    assert recorded.preference(file)('p', 'a', 'b') == 1, 'and replays as that'


def test_one_question_that_is_refused():
    def answer(body, number):
        if 'p3' in body['messages'][0]['content']:
            return Reply('too long for my window', 400)
        return chat.longer(body)

    with chat.serve(answer) as server:
        judge = endpoint(server)
        got = ask(judge)
        assert np.isnan(got[3]) and got[[0, 1, 2, 4, 5]].tolist() == [0, 0, 1, 0, 1]
        report = judge.report()
        assert report['refused'] == 1
        assert 'too long for my window' in report['refusal']


def test_a_refusal_replays_as_no_verdict_and_is_asked_again(tmp_path):
    file = tmp_path / 'a.jsonl'
    with chat.serve(after(GOOD, Reply('too long', 400))) as server:
        judge = endpoint(server, file, concurrency=1)
        pairs = [['p', 'q'], ['a', 'a'], ['b', 'b']]
        assert np.isnan(ask(judge, pairs)).tolist() == [False, True]
        np.testing.assert_array_equal(recorded.preference(file)(*pairs), [1, np.nan])
        assert ask(endpoint(server, file), pairs).tolist() == [1, 1]
    assert len(server.requests) == 3, 'only what was refused is asked again'
    assert recorded.preference(file)(*pairs).tolist() == [1, 1]


def test_half_a_character_spoils_nothing(tmp_path):
    """JSON may hold one half of a surrogate pair, UTF-8 may not."""
    file = tmp_path / 'a.jsonl'
    odd = [
        Reply(raw=json.dumps({'choices': [{'message': {'content': text}}]}).encode())
        for text in ('hm \ud83d', '1 \ud83d')
    ]
    with chat.serve(after(*odd)) as server:
        pair = [['p \ud83d'], ['a'], ['b']]
        assert ask(endpoint(server, file), pair) == 1
        assert ask(endpoint(server, file), pair) == 1
    assert len(server.requests) == 2 and 'p ?' in server.questions[0]
    assert server.requests[1]['messages'][1]['content'] == 'hm ?'
    assert recorded.preference(file)(*pair) == 1


def test_nothing_paid_for_is_lost(tmp_path):
    """A server that dies midway; another sitting asks only what is not known."""
    file = tmp_path / 'a.jsonl'
    asked = collections.Counter()

    def answer(body, number):
        asked[body['messages'][0]['content']] += 1
        return Reply('', 401) if number > 3 else chat.longer(body)

    with chat.serve(answer) as server:
        with pytest.raises(UserError, match='401'):
            ask(endpoint(server, file, concurrency=1))
        assert len(file.read_text().splitlines()) == 3
    with chat.serve(chat.longer) as other:
        judge = endpoint(other, file)
        assert ask(judge).tolist() == LONGER
    assert len(other.requests) == 3 and judge.report()['cached'] == 3
    assert set(other.questions).isdisjoint(server.questions[:3])
    assert recorded.preference(file)(*PAIRS).tolist() == LONGER


def test_those_on_their_way_are_kept_when_another_fails(tmp_path):
    file = tmp_path / 'a.jsonl'
    both = threading.Barrier(2)

    def answer(body, number):
        both.wait(5)
        if 'p0' in body['messages'][0]['content']:
            return Reply('', 401)
        return Reply('1', wait=0.3)

    with chat.serve(answer) as server, pytest.raises(UserError, match='401'):
        ask(endpoint(server, file, concurrency=2), [x[:2] for x in PAIRS])
    [row] = [json.loads(line) for line in file.read_text().splitlines()]
    assert row['prompt'] == 'p1'


@pytest.fixture
def interruptible():
    """SIGINT raises, also in a worker of pytest-xdist, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('interruptible')
def test_ctrl_c_does_not_wait_for_retries(tmp_path):
    """It comes while one answer is on its way and another waits a minute to retry."""
    file = tmp_path / 'a.jsonl'

    def answer(body, number):
        if 'p0' in body['messages'][0]['content']:
            return Reply('busy', 429, {'Retry-After': '60'})
        return Reply('1', wait=0.8)

    with chat.serve(answer) as server:
        judge = endpoint(server, file, concurrency=2)
        timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            ask(judge)
        assert time.monotonic() - began < 10
        assert len(server.requests) == 2, 'nothing more is asked'
    assert json.loads(file.read_text())['prompt'] == 'p1', 'what was paid for is kept'


def test_questions_at_once():
    running, most = [0], [0]
    lock = threading.Lock()

    def answer(body, number):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1
        return GOOD

    pairs = [[f'p{i}' for i in range(24)], ['a'] * 24, ['b'] * 24]
    with chat.serve(answer) as server:
        ask(endpoint(server, concurrency=4), pairs)
    assert 2 <= most[0] <= 4
