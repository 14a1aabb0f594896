"""Further figures of a finished stage: calibration, groups, length, harmlessness."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from perl.data.records import Comparison, Rating
from perl.evaluation import reward_scores
from perl.evaluation.figures import (
    buckets,
    calibration,
    harmless,
    length_control,
    pairs,
    rouge,
)
from perl.evaluation.figures import clusters as cluster
from perl.evaluation.figures.clusters import of_prompts
from perl.evaluation.figures.pairs import Pairs
from perl.evaluation.reward_scores import RewardModel
from perl.judges import Reward, each
from perl.runs.run import Run

LEVELS = 6  # groups of a quantity; with more values it is cut into so many


def reward_model(run: Run, stage: str, role: RewardModel, split: str) -> dict[str, Any]:
    """Calibration of a reward model, with a temperature fitted on validation, and
    accuracy by group and by margin.

    Returns:
        by_margin (rows), by_group (rows by name), see `figures.buckets`; and
        calibration, see `figures.calibration`, unless all comparisons of a split are
        labelled as ties. Of such comparisons only calibration tells anything.
    """
    read = reward_scores.raw_records(run, stage)
    pairwise = isinstance(read[split][0], Comparison)
    records, compared = {}, {}
    for part in dict.fromkeys((split, 'val')):
        data = reward_scores.records(run, stage, part)
        records[part] = data.select(read[part])  # without those that encoding drops
        scores = reward_scores.scores(run, stage, role, data)
        compared[part] = _pairs(records[part], scores, data)
    here, clusters = compared[split], cluster.of_records(records[split])
    decided = ~here.tied if pairwise else np.ones(here.n, bool)
    rows = np.flatnonzero(decided)
    pairs_decided = decided[here.rows]
    signs = np.sign(here.margins) * np.sign(2 * here.outcomes - 1)
    figures = {
        'by_margin': buckets.by_margin(
            (1 + signs[pairs_decided]) / 2,
            np.abs(here.margins[pairs_decided]),
            clusters=clusters[here.rows[pairs_decided]],
        ),
        'by_group': {
            name: buckets.by_group(here.right()[rows], members, clusters[rows])
            for name, members in groups([records[split][i] for i in rows]).items()
        },
    }
    if decided.any():
        held = compared['val']
        figures['calibration'] = calibration.calibration_metrics(
            here.margins,
            here.outcomes,
            (held.margins, held.outcomes),
            pairwise,
            clusters[here.rows],
        )
    return figures


def _pairs(records, scores, data) -> Pairs:
    """Comparisons as pairs; ratings as pairs with a response of score 0."""
    if isinstance(records[0], Comparison):
        return pairs.of_scores(reward_scores.by_record(scores, data), data.preferences)
    labels = np.array([rating.label for rating in records])
    return Pairs(scores[:, 0].astype(np.float64), np.arange(len(records)), labels)


def groups(records: Sequence[Comparison] | Sequence[Rating]) -> dict[str, list]:
    """What each record belongs to, by the name of the grouping.

    Their tags; of comparisons whether the best completion is longer than the others,
    how sure the label is and how large its margin; of ratings the label. A grouping
    that tells no two records apart is left out.
    """
    if not records:
        return {}
    if isinstance(records[0], Rating):
        groupings = {'label': ['good' if x.label >= 0.5 else 'bad' for x in records]}
    else:
        groupings = {
            'better response is': list(map(_length, records)),
            'label is sure': _levels([x.preference for x in records]),
            'label has margin': _levels([x.margin for x in records]),
        }
    tags = [dict(record.tags) for record in records]
    for name in dict.fromkeys(name for row in tags for name in row):
        groupings[name] = [row.get(name, 'none') for row in tags]
    return {name: row for name, row in groupings.items() if len(set(row)) > 1}


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
    rater: Reward | None = None,
) -> dict[str, Any]:
    """What the responses of `compare` say beyond who won.

    Args:
        run: with its dataset.
        rows: of `compare`.
        split: of the demonstrations to compare with.
        rater: the probability that a response is harmless; by default the exact aspect
            of the dataset, where it has one.

    Returns:
        length_control (by characters), and by `before` and `after`: lengths, rouge
        (where the dataset has demonstrations for the same prompts) and harmless (where
        somebody can tell).
    """
    prompts = [row['prompt'] for row in rows]
    clusters = of_prompts(prompts, run.dataset.prompt_groups)
    sides = {'before': 'reference', 'after': 'response'}
    texts = {when: [row[key] for row in rows] for when, key in sides.items()}
    won = np.array([row['won'] for row in rows])
    sizes = [[len(text) for text in texts[when]] for when in ('after', 'before')]
    figures = {
        'length_control': length_control.length_metrics(won, *sizes, clusters=clusters)
    }
    measures = {
        'lengths': rouge.length_metrics,
        'rouge': _against_demonstrations(run, prompts, clusters, split),
        'harmless': _harmless(rater or _exact(run), prompts, clusters),
    }
    for name, measure in measures.items():
        if measure:
            figures[name] = {when: measure(side) for when, side in texts.items()}
    return figures


def _against_demonstrations(run, prompts, clusters, split):
    references = {}
    for record in run.dataset.demonstrations[split]:
        references.setdefault(record.prompt, []).append(record.response)
    rows = [i for i, prompt in enumerate(prompts) if prompt in references]
    wanted = [references[prompts[i]] for i in rows]
    belongs = [clusters[i] for i in rows]
    if not rows:
        return None
    return lambda responses: rouge.rouge_metrics(
        wanted, [responses[i] for i in rows], belongs
    )


def _exact(run):
    aspect = run.dataset.harmless
    return aspect and each(aspect)


def _harmless(rater, prompts, clusters):
    return rater and functools.partial(
        harmless.harmless_rate, rater, prompts, clusters=clusters
    )
