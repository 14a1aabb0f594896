"""What a sceptic asks of a finished stage, beyond its first figures."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from perl.config import lineage
from perl.data.records import Comparison, Rating
from perl.data.sets.desk import quality
from perl.evaluation import reward_scores
from perl.evaluation.figures import (
    buckets,
    calibration,
    harmless,
    length_control,
    rouge,
)
from perl.evaluation.reward_scores import Judge
from perl.runs.run import Run

# exact aspects of a response by dataset: whether it does no harm
HARMLESS: dict[str, Callable[[str, str], float]] = {
    'reservations': lambda prompt, response: quality.aspects(prompt, response).harmless
}
LEVELS = 6  # groups of a quantity; with more values it is cut into so many


def reward_model(run: Run, stage: str, role: Judge, split: str) -> dict[str, Any]:
    """Calibration of a reward model, with a temperature fitted on validation, and
    accuracy by group and by margin.

    Returns:
        calibration, by_margin (rows), by_group (rows by name); see
        `evaluation.calibration` and `evaluation.buckets`.
    """
    data = {
        part: reward_scores.records(run, stage, part)
        for part in dict.fromkeys((split, 'val'))
    }
    read = getattr(run.dataset, lineage.reads(run.config, stage)[0])
    # without those that encoding drops
    records = {part: examples.select(read[part]) for part, examples in data.items()}
    pairs = isinstance(records[split][0], Comparison)
    found = {
        part: _logits(run, stage, role, records[part], examples)
        for part, examples in data.items()
    }
    logits, outcomes = found[split]
    right = (1 + np.sign(logits) * np.sign(2 * outcomes - 1)) / 2
    return {
        'calibration': calibration.calibration_metrics(
            logits, outcomes, found['val'], pairs
        ),
        'by_margin': buckets.by_margin(right.ravel(), np.abs(logits).ravel()),
        'by_group': {
            name: buckets.by_group(right.mean(1), members)
            for name, members in groups(records[split]).items()
        },
    }


def _logits(run, stage, role, records, data):
    """Margins of pairs or logits of ratings, and how sure it is that they are good."""
    scores = reward_scores.scores(run, stage, role, data)
    if isinstance(records[0], Rating):
        outcomes = np.array([[rating.label] for rating in records])
        return scores.astype(np.float64), outcomes
    margins = calibration.margins(scores)
    sure = np.array([[comparison.preference] for comparison in records])
    return margins, np.broadcast_to(sure, margins.shape)


def groups(records: Sequence[Comparison] | Sequence[Rating]) -> dict[str, list]:
    """What each record belongs to, by the name of the grouping.

    Their tags; of comparisons whether the best completion is longer than the others,
    how sure the label is and how large its margin; of ratings the label. A grouping
    that tells no two records apart is left out.
    """
    if isinstance(records[0], Rating):
        found = {'label': ['good' if x.label >= 0.5 else 'bad' for x in records]}
    else:
        found = {
            'better response is': list(map(_length, records)),
            'label is sure': _levels([x.preference for x in records]),
            'label has margin': _levels([x.margin for x in records]),
        }
    tags = [dict(record.tags) for record in records]
    for name in dict.fromkeys(name for row in tags for name in row):
        found[name] = [row.get(name, 'none') for row in tags]
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _length(comparison):
    first, *others = (len(text) for text in comparison.completions)
    mean = sum(others) / len(others)
    if abs(first - mean) <= length_control.TOLERANCE * (first + mean) / 2:
        return 'as long'
    return 'longer' if first > mean else 'shorter'


def _levels(values):
    """Values as they are, or cut by quantiles where they are many."""
    if len(set(values)) <= LEVELS:
        return values
    edges = np.unique(np.quantile(values, np.linspace(0, 1, LEVELS + 1)))
    at = np.searchsorted(edges[1:-1], values)
    # by the lower end, so that names sort as the values do
    return [float(f'{edges[place]:.3g}') for place in at]


def policy(
    run: Run,
    rows: list[dict[str, Any]],
    split: str,
    rater: harmless.Rater | None = None,
) -> dict[str, Any]:
    """What the responses of `compare` say beyond who won.

    Args:
        run: with its dataset.
        rows: of `compare`.
        split: of the demonstrations to compare with.
        rater: who says what is harmless; by default the dataset's exact aspect, where
            it has one.

    Returns:
        length_control (by characters), and by `before` and `after`: lengths, rouge
        (where the dataset has demonstrations for the same prompts) and harmless (where
        somebody can tell).
    """
    prompts = [row['prompt'] for row in rows]
    sides = {'before': 'reference', 'after': 'response'}
    texts = {when: [row[key] for row in rows] for when, key in sides.items()}
    won = np.array([row['won'] for row in rows])
    sizes = [[len(text) for text in texts[when]] for when in ('after', 'before')]
    found = {'length_control': length_control.length_metrics(won, *sizes)}
    measures = {
        'lengths': lambda said: rouge.length_metrics(said),
        'rouge': _against_demonstrations(run, prompts, split),
        'harmless': _harmless(rater or _exact(run), prompts),
    }
    for name, measure in measures.items():
        if measure:
            found[name] = {when: measure(said) for when, said in texts.items()}
    return found


def _against_demonstrations(run, prompts, split):
    references = {}
    for record in run.dataset.demonstrations[split]:
        references.setdefault(record.prompt, []).append(record.response)
    rows = [i for i, prompt in enumerate(prompts) if prompt in references]
    wanted = [references[prompts[i]] for i in rows]
    if not rows:
        return None
    return lambda said: rouge.rouge_metrics(wanted, [said[i] for i in rows])


def _exact(run):
    aspect = HARMLESS.get(run.dataset.name)
    return aspect and harmless.from_aspect(aspect)


def _harmless(rater, prompts):
    return rater and functools.partial(harmless.harmless_rate, rater, prompts)
