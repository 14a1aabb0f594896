"""An OpenAI-compatible chat endpoint as a language model that chooses options.

Each prompt and its responses are sent only to the named server. An answer is written to
the disk as soon as it arrives.
"""

import asyncio
import collections
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from perl.judges.language import background
from perl.judges.language.answers import Answers, chances, key, line
from perl.judges.language.client import Client, Stopped
from perl.judges.language.completions import read, well_formed
from perl.judges.language.questions import Template
from perl.judges.language.replies import Refused, hide
from perl.system.errors import UserError

# if so many questions are refused before any is answered, the request itself is wrong
_HOPELESS = 3


class Endpoint:
    """A `Choose` that asks a server.

    Args:
        client: the client of the server.
        model: the model's name on the server.
        answers: the stored answers; new ones are added.
        max_tokens: the most tokens of an answer; a reasoning model needs many.
        logprobs: whether to request log-probs, for soft labels; without them, or if the
            server has none, a verdict is 0 or 1.
        again: how often the question is repeated if an answer names no option.
        concurrency: the number of simultaneous requests.
        extra: further fields of a request; None removes a field.
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
        self._rows: dict[str, dict] = {}  # all answers used so far, by key
        self._counts: collections.Counter = collections.Counter()
        self._refusal = ''

    def __call__(
        self, template: Template, questions: Sequence[Mapping[str, str]]
    ) -> np.ndarray:
        """The probability of each option, float64 `[n, options]`; NaN for no verdict.

        The first Ctrl-C waits for the running requests, the second does not wait.
        """
        rows = [tuple(question.values()) for question in questions]
        once = dict(zip(rows, questions, strict=True))
        known = background.run(lambda stop: self._ask_all(template, once, stop))
        if self._refusal and not self._counts['answered']:
            raise self._hopeless()
        return np.array([known[row] for row in rows])

    def report(self) -> dict[str, Any]:
        """Counts of all questions so far, including those of earlier processes.

        Returns:
            requests and retries; unparsable answers, which name no option; refused
            questions, with the reason of the first as `refusal`; and cached, how often
            this process used a stored answer.
        """
        rows = self._rows.values()
        requests = sum(row.get('requests', 1) for row in rows)
        counts = {
            'cached': self._counts['cached'],
            'unparsable': sum(
                row.get('chances') is None and 'refused' not in row for row in rows
            ),
            'refused': sum('refused' in row for row in rows),
            'requests': requests,
            'retries': requests - len(rows),
        }
        return counts | ({'refusal': self._refusal} if self._refusal else {})

    async def _ask_all(self, template, once, stop):
        """{row: probabilities} of all questions, with limited concurrency."""
        todo, known = iter(once.items()), {}
        bar = tqdm(desc=self._model, total=len(once), disable=None)

        async def work(http):
            for row, question in todo:
                try:
                    ask = functools.partial(self._client.complete, http, stop=stop)
                    known[row] = await self._settle(ask, template, question)
                except BaseException:
                    stop.set()
                    raise
                bar.update()

        with bar:
            async with self._client.http() as http:
                count = min(self._concurrency, len(once))
                workers = (work(http) for _ in range(count))
                # running requests may cost money, so their answers are awaited
                ends = await asyncio.gather(*workers, return_exceptions=True)
        faults = [end for end in ends if end is not None]
        for fault in sorted(faults, key=lambda fault: isinstance(fault, Stopped)):
            raise fault
        return known

    async def _settle(self, ask, template, question):
        """Asks a question, and repeats it if the answer names no option."""
        text = well_formed(template.fill(question))
        messages = [{'role': 'user', 'content': text}]
        nothing = np.full(len(template.options), np.nan)
        for _ in range(1 + self._again):
            try:
                row = await self._answer(ask, template, question, messages)
            except Refused as refusal:
                self._refuse(str(refusal))
                return nothing
            shares = chances(row, template)
            if not np.isnan(shares).any():
                return shares
            messages = [
                *messages,
                {'role': 'assistant', 'content': row.get('text') or '(nothing)'},
                {'role': 'user', 'content': template.reminder},
            ]
        return nothing

    async def _answer(self, ask, template, question, messages):
        body = self._body(template, messages)
        name = key(body)
        row = self._answers.get(name)
        if row is not None and 'refused' not in row:
            self._counts['cached'] += 1
        else:
            try:
                first, requests = await ask(body)
            except Refused as refusal:
                # the stored row has no verdict, and the next process asks again
                row = line(name, self._model, template, question, None)
                self._keep(name, row | {'refused': str(refusal)})
                raise
            text, shares = read(first, template)
            row = line(name, self._model, template, question, shares)
            text = hide(text, self._client.secrets)
            self._keep(name, row | {'text': text, 'requests': requests})
            row = self._rows[name]
        self._rows[name] = row
        self._counts['answered'] += 1
        return row

    def _body(self, template, messages):
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
        return {name: value for name, value in body.items() if value is not None}

    def _keep(self, name, row):
        self._answers.put([row])
        self._rows[name] = row

    def _refuse(self, reason):
        self._counts['refused'] += 1
        self._refusal = self._refusal or reason
        if self._counts['refused'] >= _HOPELESS and not self._counts['answered']:
            raise self._hopeless()

    def _hopeless(self):
        return UserError(
            f'{self._client.url}: refuses every question, with {self._refusal}; change '
            'the request (log-probs, the number of tokens, other fields)'
        )
