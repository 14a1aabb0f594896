"""Labels pairs of responses with a judge; writes the comparisons and a summary."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from perl.data.records import Comparison
from perl.evaluation.figures import clusters
from perl.evaluation.figures.intervals import share
from perl.judges import Judge, Labels, Preference, both_orders
from perl.system import jsonl
from perl.system.errors import UserError


def save(
    output: pathlib.Path,
    comparisons: Sequence[Comparison],
    judge: Judge,
    gold: Callable[[str, str], float] | None = None,
) -> dict[str, Any]:
    """Labels pairs, writes them and their summary, and returns the summary.

    Args:
        output: the file of labels; the summary is written beside it.
        comparisons: the pairs.
        judge: the judge that labels.
        gold: the exact reward, if there is one.

    Raises:
        UserError: the file has labels that would be lost.
    """
    rows, figures = label_pairs(comparisons, judge.preference, gold)
    _check_kept(output, rows)
    figures |= {'labeller': _name(judge), **judge.report()}
    output.parent.mkdir(parents=True, exist_ok=True)
    # first, since it is what lets the same command write the labels after a kill
    jsonl.save(beside(output, 'summary.json'), figures)
    jsonl.save_rows(output, rows)
    return figures


def check_output(output: pathlib.Path, judge: Judge) -> None:
    """Raises a `UserError` if the output is not named as JSON lines, has the labels of
    another judge, or is a file that no labelling wrote."""
    if output.suffix != '.jsonl':
        raise UserError(
            f'--output: {output} does not end in .jsonl, and labels are JSON lines; '
            'name it so'
        )
    if not output.exists():
        return
    summary = beside(output, 'summary.json')
    before = jsonl.load(summary).get('labeller')
    if before is None:
        raise UserError(
            f'--output: {output} exists and is not from perl.label, since '
            f'{summary.name} is not beside it; name another file, or move it away'
        )
    if before != _name(judge):
        raise UserError(
            f'--output: {output} has the labels of {before}; name another file, or '
            'remove it'
        )


def _check_kept(output, rows):
    """Labels of other pairs, or of the same labeller with another seed, are not
    replaced: somebody may train on them."""
    made = {jsonl.line(row) for row in rows}
    lost = sum(jsonl.line(row) not in made for row in jsonl.rows(output))
    if lost:
        raise UserError(
            f'--output: {output} has {lost} labels that this command would change or '
            'drop, since it has other pairs or settings; name another file, or remove '
            'it (stored answers stay)'
        )


def _name(judge):
    return f'{judge.name} {judge.model}'.rstrip()


def beside(output: pathlib.Path, name: str) -> pathlib.Path:
    """`labels.<name>` of `labels.jsonl`."""
    return output.with_name(f'{output.name.removesuffix(".jsonl")}.{name}')


def label_pairs(
    pairs: Sequence[Comparison],
    preference: Preference,
    gold: Callable[[str, str], float] | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Labels pairs with a judge's preferences in both orders.

    Args:
        pairs: comparisons of two completions, in the order of their source.
        preference: the judge's preference.
        gold: the exact reward of (prompt, response), if there is one.

    Returns:
        A row {prompt, chosen, rejected, preference} for each pair with a verdict (a tie
        keeps the order of the source), with its group if it has one, and the figures of
        `summary`.
    """
    prompts = [pair.prompt for pair in pairs]
    firsts, seconds = ([pair.completions[i] for pair in pairs] for i in (0, 1))
    labels = both_orders(preference, prompts, firsts, seconds)
    rows = []
    for pair, p, known in zip(pairs, labels.preferences, labels.known, strict=True):
        chosen, rejected = pair.completions[:: 1 if p >= 0.5 else -1]
        row = {'prompt': pair.prompt, 'chosen': chosen, 'rejected': rejected}
        row |= {'group': pair.group} if pair.group else {}
        if known:
            rows.append({**row, 'preference': float(max(p, 1 - p))})
    return rows, summary(pairs, labels, gold)


def summary(
    pairs: Sequence[Comparison],
    labels: Labels,
    gold: Callable[[str, str], float] | None = None,
) -> dict[str, Any]:
    """Figures of the labels of n pairs.

    Returns:
        n, labelled, unlabelled, ties of the judge, labelled_ties of the source;
        agreement with the order of the source, and with gold (a tie of the judge counts
        half; pairs that the source or gold calls equal are left out), each with its
        interval (`intervals.share`; pairs of a prompt are one cluster);
        position_bias; and confidence, the mean of max(p, 1 - p).
    """
    known = np.flatnonzero(labels.known)
    p, at = labels.preferences[known], clusters.of_records(pairs)[known]
    sides = np.sign([pairs[i].preference - 0.5 for i in known])
    figures = {
        'n': len(pairs),
        'labelled': len(known),
        'unlabelled': len(pairs) - len(known),
        'ties': int((p == 0.5).sum()),
        'labelled_ties': int((sides == 0).sum()),
        **_agreement('agreement', p, sides, at),
    }
    if gold:
        differences = np.array([_difference(pairs[i], gold) for i in known], float)
        figures |= _agreement('gold_agreement', p, np.sign(differences), at)
    return figures | {
        'position_bias': labels.position_bias,
        'confidence': float(np.maximum(p, 1 - p).mean()) if len(known) else None,
    }


def table(figures: dict[str, Any]) -> str:
    """The summary as one line of text."""
    shown = [f'{figures["labelled"]} of {figures["n"]} labelled']
    for name in ('agreement', 'gold_agreement'):
        if figures.get(name) is not None:
            low, high = figures[f'{name}_ci95']
            shown.append(f'{name} {figures[name]:.3f} [{low:.3f}, {high:.3f}]')
    shown.append(f'position bias {figures["position_bias"]:.3f}')
    names = (
        'ties',
        'labelled_ties',
        'requests',
        'retries',
        'cached',
        'unparsable',
        'refused',
    )
    for name in (*names, 'prompts_cut', 'too_long'):
        if figures.get(name):
            shown.append(f'{name.replace("_", " ")} {figures[name]}')
    if 'refusal' in figures:
        shown.append(f'refused for {figures["refusal"]}')
    return ', '.join(shown)


def _agreement(name, p, sides, at):
    """How often preferences agree with the sides (1 first, -1 second, 0 neither)."""
    decided = sides != 0
    right = (0.5 + np.sign(p - 0.5) * sides / 2)[decided]
    mean = float(right.mean()) if len(right) else None
    return {name: mean, f'{name}_ci95': list(share(right, at[decided]))}


def _difference(pair, gold):
    first, second = (gold(pair.prompt, text) for text in pair.completions)
    return first - second
