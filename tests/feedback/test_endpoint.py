"""A real server on loopback that answers well, slowly, wrongly and not at all."""

import collections
import datetime
import email.utils
import json
import os
import signal
import socket
import threading
import time

import chat
import numpy as np
import pytest
from chat import Reply

from perl import feedback
from perl.errors import UserError
from perl.feedback import recorded
from perl.feedback.answers import Answers
from perl.feedback.client import Client
from perl.feedback.endpoint import Endpoint, read
from perl.feedback.templates import HARMLESS, PAIRWISE, SCORE

BRIEF = PAIRWISE['brief']
PAIRS = [[f'p{i}' for i in range(6)], ['a', 'bb', 'ccc', 'd', 'ee', 'fff'], ['xx'] * 6]
LONGER = [0, 0, 1, 0, 0, 1]  # how often the first is: the second one wins at a tie
GOOD = Reply('1')


@pytest.fixture(autouse=True)
def straight(monkeypatch):
    """No proxy between this process and itself."""
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')


def endpoint(server, file=None, *, client=None, **options):
    client = {'timeout': 5.0, 'retries': 3, 'backoff': 0.01, **(client or {})}
    return Endpoint(Client(server.url, **client), 'm', Answers(file), **options)


def ask(judge, pairs=PAIRS):
    return feedback.ask(judge, BRIEF)(*pairs)


def one(judge):
    """The answer to one question."""
    return ask(judge, [['p'], ['a'], ['b']])[0]


def after(*replies, then=GOOD):
    """These replies to the first requests, then always the same."""
    return lambda body, number: replies[number - 1] if number <= len(replies) else then


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
        score = feedback.rater(judge, SCORE)(['p'], ['r'])
        rate = feedback.rater(judge, HARMLESS)(['p'], ['r'])
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
    assert np.isnan(recorded.ask(file)('p', 'a', 'b'))


def test_nonsense_that_is_mended(tmp_path):
    file = tmp_path / 'a.jsonl'
    with chat.serve(after(Reply('Hm?'), Reply(None))) as server:
        judge = endpoint(server, file)
        assert one(judge) == 1
        assert judge.report()['unparsable'] == 2
        assert server.requests[2]['messages'][3]['content'] == '(nothing)'
    assert recorded.ask(file)('p', 'a', 'b') == 1, 'and replays as that'


FAULTS = {
    'busy': Reply('slow down', 429),
    'wait': Reply('slow down', 429, {'Retry-After': '0.05'}),
    'broken': Reply('oh', 500),
    'gateway': Reply(status=502, raw=b'<html>Bad gateway</html>'),
    'loading': Reply('the model is loading', 503),
    'slow': Reply('1', wait=0.6),
    'cut': Reply(raw=b'{"choices": [{"mess'),
    'no json': Reply(raw=b'<html>Sign in</html>'),
    'no choice': Reply(raw=b'{"choices": []}'),
    'no message': Reply(raw=b'{"choices": [{"text": "1"}]}'),
    'an error': Reply(raw=b'{"error": {"message": "upstream died"}}'),
    'a list': Reply(raw=b'[1]'),
    'bytes': Reply(raw=b'\xff\xfe\x00'),
    'dropped': Reply('1', drop='at once'),
    'torn': Reply('1', drop='midway'),
}


@pytest.mark.parametrize('name', FAULTS)
def test_a_fault_that_passes(name):
    with chat.serve(after(FAULTS[name])) as server:
        judge = endpoint(server, client={'timeout': 0.3})
        assert one(judge) == 1
    assert len(server.requests) == 2 and judge.report()['retries'] == 1


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('busy', r'answered 429 \(slow down\), 2 times'),
        ('broken', r'answered 500 \(oh\), 2 times'),
        ('gateway', r'answered 502 \(<html>Bad gateway</html>\), 2 times'),
        ('slow', r'no answer within 0.3 s, 2 times'),
        ('no json', r'answered with no chat completion \(<html>Sign in</html>\)'),
        ('an error', 'upstream died'),
        ('dropped', r'the connection broke \(.+\), 2 times'),
        ('torn', r'the connection broke \(.+\), 2 times'),
    ],
)
def test_a_fault_that_stays(name, words):
    with chat.serve(after(then=FAULTS[name])) as server:
        judge = endpoint(server, client={'timeout': 0.3, 'retries': 1})
        with pytest.raises(UserError, match=words) as caught:
            one(judge)
    assert len(server.requests) == 2
    text = str(caught.value)
    assert server.url in text and '\n' not in text and 'answers so far are kept' in text


def test_waits_grow():
    came = []

    def answer(body, number):
        came.append(time.monotonic())
        return Reply('oh', 500) if number < 4 else GOOD

    with chat.serve(answer) as server:
        one(endpoint(server, client={'backoff': 0.1}))
    waits = np.diff(came)
    assert (waits >= [0.05, 0.1, 0.2]).all() and waits.sum() < 2


def date(seconds):
    now = datetime.datetime.now(datetime.UTC)
    then = now + datetime.timedelta(seconds=seconds)
    return email.utils.format_datetime(then, usegmt=True)


@pytest.mark.parametrize('when', ['0.5', date])
def test_the_server_says_how_long_to_wait(when):
    came = []

    def answer(body, number):
        came.append(time.monotonic())
        header = when if isinstance(when, str) else when(2)
        return Reply('busy', 429, {'Retry-After': header}) if number < 2 else GOOD

    with chat.serve(answer) as server:
        one(endpoint(server))
    assert 0.5 <= came[1] - came[0] < 5


def test_too_long_a_wait_is_an_error():
    busy = Reply('come back tomorrow', 429, {'Retry-After': '86400'})
    with (
        chat.serve(after(then=busy)) as server,
        pytest.raises(UserError, match=r'come back tomorrow.*asks to wait 86400 s'),
    ):
        one(endpoint(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ('reply', 'words'),
    [
        (Reply('bad key', 401), r'401 \(bad key\); name the environment variable'),
        (Reply('not yours', 403), r'403 \(not yours\)'),
        (Reply('no model m', 404), r"404 \(no model m\).*ends in /v1.*'m' may be none"),
        (Reply(status=301, raw=b''), r'301 \(no text\); give the address'),
        (Reply('no logprobs here', 400), r'refuses every question, with 400 \(no logp'),
    ],
)
def test_errors_that_a_retry_does_not_mend(reply, words):
    with chat.serve(after(then=reply)) as server:
        judge = endpoint(server)
        with pytest.raises(UserError, match=words) as caught:
            one(judge)
    assert len(server.requests) == 1 and '\n' not in str(caught.value)


def test_the_key_is_not_repeated(monkeypatch):
    monkeypatch.setenv('MY_KEY', 'secret-7')
    reply = Reply('the key secret-7 is wrong', 401)
    with chat.serve(after(then=reply)) as server:
        judge = endpoint(server, client={'key_env': 'MY_KEY'})
        with pytest.raises(UserError, match=r'mend the key in \$MY_KEY') as caught:
            one(judge)
    assert 'secret' not in str(caught.value)


@pytest.mark.parametrize(
    ('url', 'key_env', 'words'),
    [
        ('localhost:8000', '', 'is no address; it looks like http://localhost'),
        ('ftp://host/v1', '', 'is no address'),
        ('http://', '', 'is no address'),
        ('http://host:port/v1', '', 'is no address'),
        ('http://a/v1', 'NOT_SET', 'NOT_SET with the key is not set'),
        ('http://a/v1', 'ODD', 'characters that no header can carry'),
    ],
)
def test_bad_settings(url, key_env, words, monkeypatch):
    monkeypatch.setenv('ODD', 'schlüssel')
    with pytest.raises(UserError, match=words):
        Client(url, key_env)


@pytest.mark.parametrize('end', ['', '/', '/chat/completions'])
def test_addresses(end):
    with chat.serve(after()) as server:
        server.url += end
        assert one(endpoint(server)) == 1


def test_nobody_there():
    with socket.socket() as closed:
        closed.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{closed.getsockname()[1]}/v1'
    began = time.monotonic()
    judge = Endpoint(Client(url, retries=9), 'm', Answers())
    with pytest.raises(UserError, match=r'nobody answers there.*start the server'):
        one(judge)
    assert time.monotonic() - began < 3, 'no patience with a server that never was'


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
    assert recorded.ask(file)(*PAIRS).tolist() == LONGER


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
    [row] = [json.loads(line) for line in file.open()]
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
