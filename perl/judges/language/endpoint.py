"""Any OpenAI-compatible chat endpoint as a labeller.

Each prompt and its responses are sent to the server that is named, to nobody else.
An answer is on the disk as soon as it is there.
"""

import collections
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from perl.judges.language.answers import Answers, key, line
from perl.judges.language.client import Client, Refused
from perl.judges.language.completions import read, well_formed
from perl.judges.language.questions import Template
from perl.system.errors import UserError

# so many questions refused before any is answered, and the request itself is wrong
_HOPELESS = 3


class Endpoint:
    """A `Choose` that asks a server.

    Args:
        client: of the server.
        model: its name there.
        answers: those that are known, and where new ones are kept.
        max_tokens: of an answer; a model that thinks aloud needs many.
        logprobs: ask for the probabilities of the answer, for soft labels; without
            them, or from a server that has none, a verdict is 0 or 1.
        again: how often a model whose answer is none is asked to mend it.
        concurrency: questions on their way at once.
        extra: further fields of a request; None takes a field out.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        answers: Answers,
        max_tokens: int = 16,
        logprobs: bool = True,
        again: int = 2,
        concurrency: int = 8,
        extra: Mapping[str, Any] | None = None,
    ):
        self._client, self._model, self._answers = client, model, answers
        self._max_tokens, self._logprobs = max_tokens, logprobs
        self._again, self._concurrency = again, concurrency
        self._extra = dict(extra or {})
        self._counts: collections.Counter = collections.Counter()
        self._lock = threading.Lock()
        self._refusal = ''

    def __call__(
        self, template: Template, questions: Sequence[Mapping[str, str]]
    ) -> np.ndarray:
        """The probability of each option, `[n, options]`; NaN where there is none."""
        known: dict[tuple, np.ndarray] = {}
        self._client.stop.clear()
        rows = [tuple(question.values()) for question in questions]
        once = dict(zip(rows, questions, strict=True))
        with ThreadPoolExecutor(self._concurrency) as pool:
            try:
                asked = {
                    pool.submit(self._settle, template, question): row
                    for row, question in once.items()
                }
                for done in tqdm(
                    as_completed(asked), self._model, len(asked), disable=None
                ):
                    known[asked[done]] = done.result()
            except BaseException:
                # those on their way have been paid for: they are still kept
                self._client.stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        if self._refusal and not self._counts['answered']:
            raise self._hopeless()
        return np.array([known[row] for row in rows])

    def report(self) -> dict[str, Any]:
        """What it took so far: requests, retries, cached answers, answers that were
        none (unparsable), and questions that were refused."""
        names = ('cached', 'unparsable', 'refused')
        found = {name: self._counts[name] for name in names}
        found |= {'requests': self._client.requests, 'retries': self._client.retried}
        return found | ({'refusal': self._refusal} if self._refusal else {})

    def _settle(self, template, question):
        """Asks, and asks again after an answer that is none."""
        asked = well_formed(template.fill(question))
        messages = [{'role': 'user', 'content': asked}]
        nothing = np.full(len(template.options), np.nan)
        for _ in range(1 + self._again):
            try:
                row = self._answer(template, question, messages)
            except Refused as refusal:
                self._refuse(str(refusal))
                return nothing
            if row['chances'] is not None:
                return np.array(row['chances'])
            self._count('unparsable')
            messages = [
                *messages,
                {'role': 'assistant', 'content': row['text'] or '(nothing)'},
                {'role': 'user', 'content': template.reminder},
            ]
        return nothing

    def _answer(self, template, question, messages):
        body = {
            'model': self._model,
            'messages': messages,
            'temperature': 0,
            'max_tokens': self._max_tokens,
        }
        if self._logprobs:
            top = min(20, max(5, 2 * len(template.options)))
            body |= {'logprobs': True, 'top_logprobs': top}
        body |= self._extra
        body = {name: value for name, value in body.items() if value is not None}
        at = key(body)
        row = self._answers.get(at)
        if row is not None and 'refused' not in row:
            self._count('cached')
        else:
            try:
                text, chances = read(self._client.complete(body), template)
            except Refused as refusal:
                # a replay has no verdict then, but the next sitting asks again
                row = line(at, self._model, template, question, None)
                self._answers.put([row | {'refused': str(refusal)}])
                raise
            row = line(at, self._model, template, question, chances) | {'text': text}
            self._answers.put([row])
        self._count('answered')
        return row

    def _count(self, name):
        with self._lock:
            self._counts[name] += 1

    def _refuse(self, reason):
        with self._lock:
            self._counts['refused'] += 1
            self._refusal = self._refusal or reason
            early = self._counts['refused'] >= _HOPELESS
        if early and not self._counts['answered']:
            raise self._hopeless()

    def _hopeless(self):
        return UserError(
            f'{self._client.url}: refuses every question, with {self._refusal}; change '
            'what is asked for (log-probs, the number of tokens, other fields)'
        )
