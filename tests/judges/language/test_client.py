"""Faults of a server, keys, addresses and waits."""

import base64
import datetime
import email.utils
import gzip
import socket
import time
import zlib

import chat
import numpy as np
import pytest
from asked import GOOD, after, endpoint, one
from chat import Reply

from perl.judges.language import addresses, replies
from perl.judges.language.answers import Answers
from perl.judges.language.client import Client
from perl.judges.language.endpoint import Endpoint
from perl.system.errors import UserError

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
    'nested': Reply(raw=b'[' * 200_000),
    'nested choices': Reply(raw=b'{"choices": ' + b'[' * 200_000),
    'no number': Reply(raw=b'{"choices": ' + b'9' * 5000 + b'}'),
    'drips': Reply('1', drip=('body', 0.05)),
    'drips at once': Reply('1', drip=('head', 0.05)),
    'bad gzip': Reply(headers={'Content-Encoding': 'gzip'}, raw=b'\x1f\x8bnothing'),
    'unknown coding': Reply('1', headers={'Content-Encoding': 'br'}),
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
        ('drips', r'no answer within 0.3 s, 2 times'),
        ('drips at once', r'no answer within 0.3 s, 2 times'),
        ('nested', r'did not answer with a chat completion'),
        ('unknown coding', r'answered in the unknown encoding br'),
        ('no json', r'did not answer with a chat completion \(<html>Sign in</html>\)'),
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
    assert (
        server.url in text and '\n' not in text and 'answers so far are saved' in text
    )


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
        pytest.raises(UserError, match=r'come back tomorrow.*requests to wait 86400 s'),
    ):
        one(endpoint(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ('reply', 'words'),
    [
        (Reply('bad key', 401), r'401 \(bad key\); name the environment variable'),
        (Reply('not yours', 403), r'403 \(not yours\)'),
        (
            Reply('no model m', 404),
            r"404 \(no model m\).*ends in /v1.*may not have 'm'",
        ),
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
        with pytest.raises(UserError, match=r'correct the key in \$MY_KEY') as caught:
            one(judge)
    assert 'secret' not in str(caught.value)


def test_a_large_answer_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(replies, 'LIMIT', 100_000)
    large = Reply('1' + ' ' * 10**6)
    with (
        chat.serve(after(then=large)) as server,
        pytest.raises(UserError, match=r'/v1.*: answered with more than 97\.7 KiB'),
    ):
        one(endpoint(server))
    assert len(server.requests) == 1, 'another try would not be smaller'


def compressed(text, coding):
    body = Reply(text).body
    packed = gzip.compress(body) if coding == 'gzip' else zlib.compress(body)
    return Reply(raw=packed, headers={'Content-Encoding': coding})


@pytest.mark.parametrize('coding', ['gzip', 'deflate'])
def test_a_compressed_answer_is_bounded_too(coding, monkeypatch):
    with chat.serve(after(then=compressed('1', coding))) as server:
        assert one(endpoint(server)) == 1
    assert server.headers[0]['Accept-Encoding'] == 'identity'
    monkeypatch.setattr(replies, 'LIMIT', 100_000)
    bomb = compressed(' ' * 10**7, coding)
    assert len(bomb.raw) < 20_000
    with (
        chat.serve(after(then=bomb)) as server,
        pytest.raises(UserError, match='answered with more than'),
    ):
        one(endpoint(server))


@pytest.mark.parametrize('seconds', [0.0, -1.0, float('nan'), float('inf')])
def test_a_timeout_is_a_number_of_seconds(seconds):
    with pytest.raises(UserError, match=r'timeout: .* must be a number of seconds'):
        Client('http://a/v1', timeout=seconds)


SECRETS = [
    ('//joe:s%40crt-7@', ''),
    ('//', '?api_key=s%40crt-7'),
    ('//', '?api-version=1&token=s%40crt-7'),
]


@pytest.mark.parametrize(('before', 'after_'), SECRETS)
def test_a_secret_in_the_address_is_neither_shown_nor_kept(before, after_, tmp_path):
    file = tmp_path / 'a.jsonl'
    login = base64.b64encode(b'joe:s@crt-7').decode()
    echo = 'you sent s@crt-7 and s%40crt-7'
    echo += f' and {login}' if 'joe' in before else ''

    def answer(body, number):
        return Reply(f'Hm, {echo}') if number == 1 else Reply(echo, 401)

    with chat.serve(answer) as server:
        server.url = server.url.replace('//', before) + after_
        judge = endpoint(server, file)
        with pytest.raises(UserError, match='you sent') as caught:
            one(judge)
    seen = str(caught.value) + file.read_text() + judge.report().get('refusal', '')
    assert 'crt-7' not in seen and login not in seen


def test_a_query_is_sent():
    with chat.serve(after()) as server:
        server.url += '?api-version=7'
        assert one(endpoint(server)) == 1
    assert server.paths == ['/v1/chat/completions?api-version=7']


@pytest.mark.parametrize(
    ('url', 'words'),
    [
        ('http://joe:s3cret@a/v1', 'was given with a name or password'),
        ('http://s3cret@a/v1', 'was given with a name or password'),
        ('https://a/v1?api_key=s3cret', r'was given with a query'),
        ('https://a/v1#api_key=s3cret', r'was given with a fragment'),
        ('https://a/v1;token=s3cret', r'was given with a parameter'),
        ('ftp://joe:s3cret@a/v1', 'is not an HTTP address'),
        ('joe:s3cret@a', 'is not an HTTP address'),
        ('http://joe:s3/cret@a/v1', 'is not an HTTP address'),
    ],
)
def test_an_address_for_a_config_has_no_secret(url, words):
    with pytest.raises(UserError, match=words) as caught:
        addresses.check_public(url)
    assert 's3' not in str(caught.value)


def test_a_plain_address_is_fine():
    addresses.check_public('http://localhost:8000/v1')


@pytest.mark.parametrize('key', ['sk-proj-12345', 'hf_abcDEF123', 'two words'])
def test_a_key_in_the_place_of_its_variable_is_not_repeated(key):
    with pytest.raises(UserError, match='key_env: ') as caught:
        Client('http://a/v1', key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ('url', 'key_env', 'words'),
    [
        (
            'localhost:8000',
            '',
            'is not an HTTP address; give one like http://localhost',
        ),
        ('ftp://host/v1', '', 'is not an HTTP address'),
        ('http://host:99999/v1', '', 'has the port 99999, not one of 1 to 65535'),
        ('http://host:0/v1', '', 'has the port 0, not one of'),
        ('http://127.0.0.1:-1/v1', '', 'has the port -1, not one of'),
        ('http://', '', 'is not an HTTP address'),
        ('http://my host/v1', '', 'is not an HTTP address'),
        ('http://host:port/v1', '', 'is not an HTTP address'),
        ('http://a/v1', 'NOT_SET', 'NOT_SET with the key is not set'),
        ('http://a/v1', 'ODD', 'characters that an HTTP header cannot contain'),
    ],
)
def test_bad_settings(url, key_env, words, monkeypatch):
    monkeypatch.setenv('ODD', 'schlüssel')
    with pytest.raises(UserError, match=words):
        Client(url, key_env)


@pytest.mark.parametrize('name', ['http_proxy', 'HTTP_PROXY', 'ALL_PROXY'])
def test_a_proxy_sees_nothing(name, monkeypatch):
    for variable in ('no_proxy', 'NO_PROXY'):
        monkeypatch.delenv(variable, raising=False)
    with chat.serve(after()) as proxy, chat.serve(after()) as server:
        monkeypatch.setenv(name, proxy.url)
        assert one(endpoint(server)) == 1
    assert (len(proxy.requests), len(server.requests)) == (0, 1)


def test_certificates_of_the_environment_are_taken(tmp_path, monkeypatch):
    monkeypatch.setenv('SSL_CERT_FILE', str(tmp_path / 'none.pem'))
    with pytest.raises(FileNotFoundError):
        Client('https://a/v1')


def test_a_password_in_the_address_is_sent_and_not_shown():
    with chat.serve(after(then=Reply('bad key', 401))) as server:
        server.url = server.url.replace('//', '//joe:secret@')
        with pytest.raises(UserError, match='bad key') as caught:
            one(endpoint(server))
    assert server.headers[0]['Authorization'].startswith('Basic ')
    assert 'secret' not in str(caught.value)
    with pytest.raises(UserError, match='is not an HTTP address') as caught:
        Client('http://joe:secret@host:port/v1')
    assert 'secret' not in str(caught.value)


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
    with pytest.raises(UserError, match=r'no server answers there.*start the server'):
        one(judge)
    assert time.monotonic() - began < 3, 'no patience with a server that never was'
