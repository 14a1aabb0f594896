"""Further figures of a finished stage: calibration, groups, length, harmlessness."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from perl.data.records import Comparison, Dataset, Rating
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
from perl.evaluation.reward_scores import RewardModel, by_record
from perl.evaluation.reward_task import RewardTask
from perl.judges import Reward, each

LEVELS = 6  # most groups of a numeric label; more values are grouped by quantiles


def reward_model(task: RewardTask, model: RewardModel, split: str) -> dict[str, Any]:
    """Calibration of a reward model, with a temperature fitted on validation, and
    accuracy by group and by margin.

    Returns:
        by_margin (rows) and by_group (rows by name), see `figures.buckets`; and
        calibration, see `figures.calibration`, unless all comparisons of the split are
        labelled as ties. Comparisons labelled as ties count only in the calibration.
    """
    pairwise = isinstance(task.raw[split][0], Comparison)
    records, scored = {}, {}
    for part in dict.fromkeys((split, 'val')):
        data = task.records(part)
        records[part] = data.select(task.raw[part])  # without those encoding drops
        scores = task.scores(model, data)
        scored[part] = _pairs(records[part], scores, data)
    tested, clusters = scored[split], cluster.of_records(records[split])
    decided = ~tested.tied if pairwise else np.ones(tested.n, bool)
    rows = np.flatnonzero(decided)
    pairs_decided = decided[tested.rows]
    right, pairs_right = tested.right(), tested.pairs_right()
    if not pairwise:  # a label of 1/2 is a good one there, and not a tie
        right = pairs_right = (tested.margins > 0) == (tested.outcomes >= 0.5)
    figures = {
        'by_margin': buckets.by_margin(
            pairs_right[pairs_decided],
            np.abs(tested.margins[pairs_decided]),
            clusters=clusters[tested.rows[pairs_decided]],
        ),
        'by_group': {
            name: buckets.by_group(right[rows], members, clusters[rows])
            for name, members in groups([records[split][i] for i in rows]).items()
        },
    }
    if decided.any():
        held_out = scored['val']
        figures['calibration'] = calibration.calibration_metrics(
            tested.margins,
            tested.outcomes,
            (held_out.margins, held_out.outcomes),
            pairwise,
            clusters[tested.rows],
        )
    return figures


def _pairs(records, scores, data) -> Pairs:
    """Comparisons as pairs; a rating becomes a pair with a response of score 0."""
    if isinstance(records[0], Comparison):
        return pairs.of_scores(by_record(scores, data), data.preferences)
    labels = np.array([rating.label for rating in records])
    return Pairs(scores[:, 0].astype(np.float64), np.arange(len(records)), labels)


def groups(records: Sequence[Comparison] | Sequence[Rating]) -> dict[str, list]:
    """The group of each record, by the name of the grouping.

    Groupings are the tags; for comparisons also whether the best completion is longer
    than the others, the preference and the margin; for ratings the label. A grouping
    with only one group is left out.
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
    """The values, or their quantile groups if there are more than `LEVELS` values."""
    if len(set(values)) <= LEVELS:
        return values
    edges = np.unique(np.quantile(values, np.linspace(0, 1, LEVELS + 1)))
    at = np.searchsorted(edges[1:-1], values)
    # groups are named by their lower end, so that they sort as the values do
    return [float(f'{edges[place]:.3g}') for place in at]


def policy(
    dataset: Dataset,
    rows: list[dict[str, Any]],
    split: str,
    rater: Reward | None = None,
) -> dict[str, Any]:
    """Further figures of the responses of `compare`.

    Args:
        dataset: all records.
        rows: the rows from `compare`.
        split: the split of the demonstrations to compare with.
        rater: gives the probability that a response is harmless; by default the exact
            aspect of the dataset, if it has one.

    Returns:
        length_control (by characters; if a judge has decided), and for `before` and
        `after`: lengths, rouge (if the dataset has demonstrations for the same
        prompts) and harmless (if there is a rater or an exact aspect).
    """
    prompts = [row['prompt'] for row in rows]
    clusters = of_prompts(prompts, dataset.prompt_groups)
    sides = {'before': 'reference', 'after': 'response'}
    texts = {when: [row[key] for row in rows] for when, key in sides.items()}
    figures = {}
    if 'won' in rows[0]:  # a judge has decided
        won = np.array([row['won'] for row in rows])
        sizes = [[len(text) for text in texts[when]] for when in ('after', 'before')]
        figures['length_control'] = length_control.length_metrics(
            won, *sizes, clusters=clusters
        )
    measures = {
        'lengths': rouge.length_metrics,
        'rouge': _against_demonstrations(
            dataset.demonstrations[split], prompts, clusters
        ),
        'harmless': _harmless(rater or _exact(dataset), prompts, clusters),
    }
    for name, measure in measures.items():
        if measure:
            figures[name] = {when: measure(side) for when, side in texts.items()}
    return figures


def _against_demonstrations(demonstrations, prompts, clusters):
    references = {}
    for record in demonstrations:
        references.setdefault(record.prompt, []).append(record.response)
    rows = [i for i, prompt in enumerate(prompts) if prompt in references]
    row_references = [references[prompts[i]] for i in rows]
    row_clusters = [clusters[i] for i in rows]
    if not rows:
        return None
    return lambda responses: rouge.rouge_metrics(
        row_references, [responses[i] for i in rows], row_clusters
    )


def _exact(dataset):
    aspect = dataset.harmless
    return aspect and each(aspect)


def _harmless(rater, prompts, clusters):
    return rater and functools.partial(
        harmless.harmless_rate, rater, prompts, clusters=clusters
    )
