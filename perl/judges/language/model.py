"""A language model of a run as a labeller, by the log-probs of the options.

RLAIF (arXiv 2309.00267): softmax over the log-probs of "1" and "2" after the question,
in both orders. d-RLAIF scores a response in the same way with "1" ... "10".
"""

import bisect
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from perl.data import batching
from perl.data.examples import Examples
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.judges.language.answers import Answers, key, remembered
from perl.judges.language.questions import Template
from perl.models import likelihood
from perl.models.architecture import Architecture
from perl.system import placement
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Model:
    """A `Choose` that computes a language model's log-probs of the options.

    Attributes:
        arch: the decoder.
        params: its parameters, bound or plain.
        tokenizer: the model's tokenizer.
        batch_size: number of questions per forward pass.
        multiple: row lengths are multiples of this.
        answers: the stored answers; new ones are added. None stores no answers.
        name: identifies the model and all that its answers depend on.
        cut, too_long: keys of the questions with a cut prompt, and of those that do not
            fit into the window even without the prompt.
    """

    arch: Architecture
    params: Any
    tokenizer: Tokenizer
    batch_size: int = 16
    multiple: int = 32
    answers: Answers | None = None
    name: str = ''
    cut: set[str] = dataclasses.field(default_factory=set)
    too_long: set[str] = dataclasses.field(default_factory=set)

    def __call__(
        self, template: Template, questions: Sequence[Mapping[str, str]]
    ) -> np.ndarray:
        """The probability of each option, float64 `[n, options]`.

        A prompt that is too long loses its beginning. A question that does not fit into
        the window even without its prompt gets no verdict: a row of NaN.

        Raises:
            UserError: the tokenizer cannot tell the options apart.
        """
        if self.answers is None:
            return self._choose(template, questions)
        known = remembered(self._choose, self.answers, self.name)
        chances = known(template, questions)
        self._encode_all(template, questions)  # updates the counts for stored answers
        return chances

    def report(self) -> dict[str, int]:
        """The number of questions with a cut prompt, and of those that did not fit."""
        return {'prompts_cut': len(self.cut), 'too_long': len(self.too_long)}

    def _choose(self, template, questions):
        options = self._options(template)
        prompts, room = self._encode_all(template, questions)
        fitting = [i for i, ids in enumerate(prompts) if len(ids) <= room]
        examples = Examples(
            prompts, [options] * len(prompts), np.ones(len(prompts)), self.tokenizer.pad
        )
        log_probs = np.full((len(prompts), len(options)), np.nan)
        # sorted by length for little padding, then by ids for a fixed order
        fitting.sort(key=lambda i: (len(prompts[i]), prompts[i].tolist()))
        # a few sizes only, since each is compiled
        size = min(self.batch_size, batching.bucket(len(fitting), 1, steps=2))
        for start in range(0, len(fitting), size):
            rows = fitting[start : start + size]
            full = np.resize(rows, size)
            log_probs[rows] = self._log_probs(examples, full)[: len(rows)]
        return probabilities(log_probs, options)

    def _log_probs(self, examples, rows):
        batch = batching.collate(examples, rows, 'shared', self.multiple)
        options = examples.completions[0]
        count = sum(map(len, options))
        starts = np.array([len(examples.prompts[i]) for i in rows])
        slots = starts[:, None] + np.arange(count)
        batch = {
            **{name: batch[name] for name in ('tokens', 'positions', 'segments')},
            'targets': np.take_along_axis(batch['tokens'], slots, 1),
            'sources': np.take_along_axis(batch['sources'], slots, 1),
        }
        each = placement.fetch(_scorer(self.arch)(self.params, batch))
        each = each.astype(np.float64)
        firsts = np.cumsum([0, *map(len, options[:-1])])
        return np.add.reduceat(each, firsts, axis=1)

    def _options(self, template):
        options = tuple(
            np.array(self.tokenizer.encode(option), np.int32)
            for option in template.options
        )
        if len({tuple(ids) for ids in options if len(ids)}) < len(options):
            raise UserError(
                f'labeller: the tokenizer has equal ids for some of the answers '
                f'{", ".join(template.options)}; use another model'
            )
        return options

    def _encode_all(self, template, questions):
        """The ids of each question, and the most ids that fit."""
        room = self.arch.max_length - max(map(len, self._options(template)))
        return [self._encode(template, question, room) for question in questions], room

    def _encode(self, template, question, room):
        """The ids of a question; a long prompt loses its beginning or all of
        its text."""
        prompt = question['prompt']

        def ids(cut):
            text = template.fill({**question, 'prompt': prompt[cut:]})
            ids = self.tokenizer.encode(text, start=True)
            return [self.tokenizer.bos, *ids] if self.tokenizer.adds_bos else ids

        whole = ids(0)
        if len(whole) <= room:
            return np.array(whole, np.int32)
        cut = bisect.bisect_left(
            range(len(prompt)), True, key=lambda cut: len(ids(cut)) <= room
        )
        shortened = np.array(ids(cut), np.int32)
        counted = self.cut if len(shortened) <= room else self.too_long
        counted.add(key(template.text, question))
        return shortened


def probabilities(log_probs: np.ndarray, options: Sequence[np.ndarray]) -> np.ndarray:
    """The probability of each option, normalised over the options: `[n, options]`.

    If one option is a prefix of another, as "1" of "10", its probability includes that
    of the longer option, which is therefore subtracted.

    Args:
        log_probs: float64 `[n, options]`, of each whole option as a continuation.
        options: the token ids of each option.
    """
    weights = np.exp(log_probs - log_probs.max(1, keepdims=True))
    for i in sorted(range(len(options)), key=lambda i: -len(options[i])):
        n = len(options[i])
        for j, other in enumerate(options):
            if len(other) > n and np.array_equal(other[:n], options[i]):
                weights[:, i] -= weights[:, j]
    weights = np.maximum(weights, 0)
    return weights / weights.sum(1, keepdims=True)


@functools.cache
def _scorer(arch):
    return jax.jit(functools.partial(likelihood.predicted_log_probs, arch))
