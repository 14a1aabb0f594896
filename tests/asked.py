"""Makes endpoints for the test server of `chat.py`, and asks them questions."""

from chat import Reply

from perl.judges.language import choose
from perl.judges.language.answers import Answers
from perl.judges.language.client import Client
from perl.judges.language.endpoint import Endpoint
from perl.judges.language.questions import PAIRWISE

BRIEF = PAIRWISE['brief']
PAIRS = [[f'p{i}' for i in range(6)], ['a', 'bb', 'ccc', 'd', 'ee', 'fff'], ['xx'] * 6]
LONGER = [0, 0, 1, 0, 0, 1]  # how often the first is: the second one wins at a tie
GOOD = Reply('1')


def endpoint(server, file=None, *, client=None, **options):
    client = {'timeout': 5.0, 'retries': 3, 'backoff': 0.01, **(client or {})}
    return Endpoint(Client(server.url, **client), 'm', Answers(file), **options)


def ask(judge, pairs=PAIRS):
    return choose.preference(judge, BRIEF)(*pairs)


def one(judge):
    """The answer to one question."""
    return ask(judge, [['p'], ['a'], ['b']])[0]


def after(*replies, then=GOOD):
    """An answer function: these replies to the first requests, then always `then`."""
    return lambda body, number: replies[number - 1] if number <= len(replies) else then
