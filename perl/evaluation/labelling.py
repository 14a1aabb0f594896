"""AI feedback on a run: labellers by name, labels of pairs and their figures."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from perl.data.records import Comparison
from perl.data.sets.desk import annotators, quality
from perl.evaluation.figures.intervals import wilson
from perl.evaluation.sampled_pairs import identity
from perl.judges import asking, recorded, simulated
from perl.judges.asking import Ask, Labels, Rater
from perl.judges.language import questions
from perl.judges.language.answers import Answers, remembered
from perl.judges.language.model import Model
from perl.runs.run import Run
from perl.system.errors import UserError
from perl.system.suggest import near_miss

KINDS = ('endpoint', 'model', 'annotators', 'recorded')
RATERS = ('endpoint', 'model')  # of single responses


@dataclasses.dataclass(frozen=True)
class Settings:
    """Who labels, and how; a labeller reads only what concerns it.

    Attributes:
        kind: 'endpoint', 'model', 'annotators' or 'recorded'.
        template: of the question, see `templates.pairwise`.
        answers: the file where an endpoint's or a model's answers are kept.
        file: with the recorded answers.
        url, model: of an endpoint; of kind 'model' `model` is a stage, an adapter
            folder, or base.
        server: further settings of `Client`: key_env, timeout, retries.
        questions: further settings of `Endpoint`: max_tokens, logprobs, again,
            concurrency, extra.
        flip: how often an annotator errs.
        seed: of the annotators.
    """

    kind: str
    template: str = 'generic'
    answers: pathlib.Path | None = None
    file: str = ''
    url: str = ''
    model: str = ''
    server: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    questions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    flip: float = 0.25
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Opened:
    """A labeller, ready to be asked.

    Attributes:
        ask: how likely the first of two is the better.
        report: what it took so far.
    """

    ask: Ask
    report: Callable[[], dict[str, Any]]


def open_labeller(settings: Settings, run: Run | None = None) -> Opened:
    """The labeller that the settings ask for.

    Args:
        settings: who labels.
        run: the run whose model labels, for the kind 'model'.

    Raises:
        UserError: an unknown kind, or a setting that it needs is missing or wrong.
    """
    if settings.kind not in KINDS:
        raise UserError(
            f'no labeller {settings.kind!r}{near_miss(settings.kind, KINDS)}'
        )
    return _OPEN[settings.kind](settings, run)


def open_rater(
    settings: Settings, run: Run, template: questions.Template = questions.SCORE
) -> Rater:
    """Scores of single responses, 1 to 10 mapped to [-1, 1], as a reward (d-RLAIF).

    Args:
        settings: of kind 'endpoint' or 'model'; its template is not read.
        run: the run whose model scores, for the kind 'model'.
        template: another question, as `templates.HARMLESS`.

    Raises:
        UserError: another kind, or a setting that it needs is missing or wrong.
    """
    if settings.kind not in RATERS:
        hint = near_miss(settings.kind, RATERS)
        raise UserError(f'no rater {settings.kind!r}{hint}; give endpoint or model')
    choose, _ = _CHOOSE[settings.kind](settings, run)
    return asking.rater(choose, template)


def _asked(settings, run):
    choose, report = _CHOOSE[settings.kind](settings, run)
    return Opened(asking.ask(choose, questions.pairwise(settings.template)), report)


def _endpoint(settings, run):
    from perl.judges.language.client import Client
    from perl.judges.language.endpoint import Endpoint

    if not settings.url or not settings.model:
        raise UserError('an endpoint needs its address and the name of a model there')
    client = Client(settings.url, **settings.server)
    answers = Answers(settings.answers)
    endpoint = Endpoint(client, settings.model, answers, **settings.questions)
    return endpoint, endpoint.report


def _model(settings, run):
    if run is None:
        raise UserError('a model that labels needs the run folder it is in')
    name = settings.model or 'base'
    role = run.source('base') if name == 'base' else run.role(name)
    model = Model(
        run.arch,
        role.bound(),
        run.tokenizer,
        run.config.evaluation.batch_size,
        run.multiple,
    )
    kept = remembered(model, Answers(settings.answers), f'{name}@{identity(role)}')
    return kept, model.report


def _annotators(settings, run):
    weights = tuple(quality.WEIGHTS.values())
    people = annotators.pool(weights, flip=settings.flip, seed=settings.seed)
    return Opened(simulated.labeller(people), dict)


def _recorded(settings, run):
    if not settings.file:
        raise UserError('recorded answers need the file that they are in')
    return Opened(recorded.ask(settings.file), dict)


_CHOOSE = {'endpoint': _endpoint, 'model': _model}
_OPEN = {
    'endpoint': _asked,
    'model': _asked,
    'annotators': _annotators,
    'recorded': _recorded,
}


def label(
    pairs: Sequence[Comparison], ask: Ask, gold: Callable | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Labels pairs by asking in both orders.

    Args:
        pairs: of two completions each, in an order that is given.
        ask: the labeller.
        gold: the exact reward, where there is one.

    Returns:
        A row {prompt, chosen, rejected, preference} for each pair with a verdict, a tie
        in the order given; and the summary (see `summary`).
    """
    prompts = [pair.prompt for pair in pairs]
    firsts, seconds = ([pair.completions[i] for pair in pairs] for i in (0, 1))
    said = asking.both_orders(ask, prompts, firsts, seconds)
    rows = []
    for pair, p, known in zip(pairs, said.preferences, said.known, strict=True):
        chosen, rejected = pair.completions[:: 1 if p >= 0.5 else -1]
        row = {'prompt': pair.prompt, 'chosen': chosen, 'rejected': rejected}
        if known:
            rows.append({**row, 'preference': float(max(p, 1 - p))})
    return rows, summary(pairs, said, gold)


def summary(
    pairs: Sequence[Comparison], said: Labels, gold: Callable | None = None
) -> dict[str, Any]:
    """Figures of some labels.

    Returns:
        n, labelled, unlabelled, ties; agreement with the order given and with gold (a
        tie of the labeller is half, pairs of equal gold are left out), each with a
        Wilson interval; position_bias; and confidence, the mean of max(p, 1 - p).
    """
    known = [i for i, there in enumerate(said.known) if there]
    p = said.preferences[known]
    found = {
        'n': len(pairs),
        'labelled': len(known),
        'unlabelled': len(pairs) - len(known),
        'ties': int((p == 0.5).sum()),
        **_agreement('agreement', p, np.ones(len(known))),
    }
    if gold:
        apart = np.array([_apart(pairs[i], gold) for i in known], float)
        found |= _agreement('gold_agreement', p, np.sign(apart))
    return found | {
        'position_bias': said.position_bias,
        'confidence': float(np.maximum(p, 1 - p).mean()) if known else None,
    }


def _agreement(name, p, sides):
    """How often preferences fall on the side (1 the first, -1 the second, 0 none)."""
    right = 0.5 + np.sign(p - 0.5) * sides / 2
    right, n = float(right[sides != 0].sum()), int((sides != 0).sum())
    return {name: right / n if n else None, f'{name}_ci95': list(wilson(right, n))}


def _apart(pair, gold):
    first, second = (gold(pair.prompt, text) for text in pair.completions)
    return first - second
