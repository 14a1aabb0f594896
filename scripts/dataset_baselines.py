"""Baselines on the data that docs/datasets.md reports: RefExp and HH.

    python scripts/dataset_baselines.py --root=../shared/data

Comparisons are judged by length, by a bag of words, and by which element is described;
clicks by chance and by the words that an element shares with the instruction. Prints
accuracies on the test split with 95 % intervals.
"""

import pathlib
import re
from collections.abc import Sequence

import numpy as np
from absl import app, flags

from perl import data
from perl.data.records import Comparison, Dataset
from perl.evaluation.figures import baselines, clusters
from perl.evaluation.figures import pairs as scored
from perl.evaluation.figures.clusters import Clusters
from perl.evaluation.figures.intervals import share

_ELEMENT = re.compile(
    r'^(?:(?P<kind>.+) "(?P<words>.*)"|\?) at \d+ \d+:(?P<action> click\(\d+\))$',
    re.M,
)


def pairs(dataset: Dataset) -> dict[str, np.ndarray]:
    """Per test comparison, whether each baseline prefers the right completion; 1/2 for
    a tie. Which length wins, and the words' weights, are of the training split."""
    measured = baselines.metrics(dataset.comparisons, 'test')
    names = {'length': measured['length'][0]['rule'], 'bag_of_words': 'bag of words'}
    return {
        said: scored.of_scores(measured[name][1]).right()
        for name, said in names.items()
    }


def clicks(dataset: Dataset) -> dict[str, np.ndarray]:
    """Per test screen, the chance of each baseline to click on the right element."""
    chances = {'any element': [], 'any described element': [], 'shared words': []}
    for row in dataset.demonstrations['test']:
        elements = [match.groupdict() for match in _ELEMENT.finditer(row.prompt)]
        label = int(row.response.strip()[len('click(') : -1])
        asked = set(re.findall(r'\w+', row.prompt.partition('\n')[0].lower()))
        words = [
            set(re.findall(r'\w+', f'{x["kind"]} {x["words"]}'.lower()))
            if x['kind']
            else set()
            for x in elements
        ]
        scores = {
            'any element': [1.0] * len(elements),
            'any described element': [float(bool(x)) for x in words],
            'shared words': [
                len(asked & x) / np.sqrt(1 + len(x)) + 1e-3 * bool(x) for x in words
            ],
        }
        for name, values in scores.items():
            best = np.flatnonzero(np.array(values) == max(values))
            chances[name].append((label in best) / len(best))
    return {name: np.array(values) for name, values in chances.items()}


def described(comparisons: Sequence[Comparison]) -> np.ndarray:
    """Per comparison of clicks, whether the right element alone is described (1), the
    wrong one alone (0), or both or none (1/2)."""
    shares = []
    for row in comparisons:
        elements = _ELEMENT.finditer(row.prompt)
        known = {element['action'] for element in elements if element['kind']}
        right, wrong = (text in known for text in row.completions)
        shares.append((1 + right - wrong) / 2)
    return np.array(shares)


def write(dataset: str, rows: dict[str, np.ndarray], belongs: Clusters = None) -> None:
    """Prints a line a baseline.

    Args:
        dataset: its name.
        rows: by baseline whether it is right, `[n]`.
        belongs: `[n]`, what each row belongs to; by default each is on its own.
    """
    for name, right in rows.items():
        low, high = share(right, belongs)
        print(
            f'{dataset}: {name}: {right.mean():.3f} [{low:.3f}, {high:.3f}], '
            f'n={len(right)} in {clusters.count(belongs, len(right))} clusters'
        )


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    root = pathlib.Path(flags.FLAGS.root)
    harmless = data.load('harmlessness', root=str(root / 'hh-rlhf'), test_only=True)
    of_dialogs = clusters.of_records(harmless.comparisons['test'])
    write('harmlessness', pairs(harmless), of_dialogs)
    refexp = data.load('refexp', root=str(root / 'uibert_refexp'), no_train=True)
    test = refexp.comparisons['test']
    of_screens = clusters.of_records(test)
    write(
        'refexp pairs', pairs(refexp) | {'described wins': described(test)}, of_screens
    )
    prompts = [row.prompt for row in refexp.demonstrations['test']]
    of_screens = clusters.of_prompts(prompts, refexp.prompt_groups)
    write('refexp clicks', clicks(refexp), of_screens)


if __name__ == '__main__':
    flags.DEFINE_string('root', '../shared/data', 'holds hh-rlhf and uibert_refexp')
    app.run(main)
