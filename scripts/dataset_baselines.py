"""What understands nothing, on the data that docs/datasets.md reports: RefExp and HH.

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
from perl.evaluation.figures import intervals

_ELEMENT = re.compile(
    r'^(?:(?P<kind>.+) "(?P<words>.*)"|\?) at \d+ \d+:(?P<action> click\(\d+\))$',
    re.M,
)


def pairs(dataset: Dataset) -> dict[str, np.ndarray]:
    """Per test comparison, whether each baseline prefers the right completion; 1/2 for
    a tie. Which length wins, and the words' weights, are of the training split."""
    train, test = dataset.comparisons['train'], dataset.comparisons['test']
    right = _longer(test)
    name = 'longer wins'
    if _longer(train).mean() < 0.5:
        name, right = 'shorter wins', 1 - right
    return {name: right, 'bag of words': _words(train, test)}


def _longer(comparisons: Sequence[Comparison]) -> np.ndarray:
    sizes = np.array([[len(x) for x in c.completions] for c in comparisons])
    return (np.sign(sizes[:, 0] - sizes[:, 1]) + 1) / 2


def _words(train: Sequence[Comparison], test: Sequence[Comparison]) -> np.ndarray:
    """Logistic regression on the difference of the two completions' TF-IDF."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    reader = TfidfVectorizer(sublinear_tf=True, min_df=2)
    reader.fit([text for c in train for text in c.completions])

    def difference(comparisons):
        sides = [[c.completions[k] for c in comparisons] for k in (0, 1)]
        return reader.transform(sides[0]) - reader.transform(sides[1])

    x = difference(train)
    # Both orders, or there would be one class alone.
    signs = np.resize([1, -1], len(train))
    model = LogisticRegression(C=0.1, fit_intercept=False, max_iter=1000)
    model.fit(x.multiply(signs[:, None]).tocsr(), signs)
    return (np.sign(model.decision_function(difference(test))) + 1) / 2


def clicks(dataset: Dataset) -> dict[str, np.ndarray]:
    """Per test screen, the chance of each baseline to click on the right element."""
    found = {'any element': [], 'any described element': [], 'shared words': []}
    for row in dataset.demonstrations['test']:
        elements = [match.groupdict() for match in _ELEMENT.finditer(row.prompt)]
        label = int(row.response.strip()[len('click(') : -1])
        asked = set(re.findall(r'\w+', row.prompt.partition('\n')[0].lower()))
        said = [
            set(re.findall(r'\w+', f'{x["kind"]} {x["words"]}'.lower()))
            if x['kind']
            else set()
            for x in elements
        ]
        scores = {
            'any element': [1.0] * len(elements),
            'any described element': [float(bool(x)) for x in said],
            'shared words': [
                len(asked & x) / np.sqrt(1 + len(x)) + 1e-3 * bool(x) for x in said
            ],
        }
        for name, values in scores.items():
            best = np.flatnonzero(np.array(values) == max(values))
            found[name].append((label in best) / len(best))
    return {name: np.array(values) for name, values in found.items()}


def described(comparisons: Sequence[Comparison]) -> np.ndarray:
    """Per comparison of clicks, whether the right element alone is described (1), the
    wrong one alone (0), or both or none (1/2)."""
    found = []
    for row in comparisons:
        elements = _ELEMENT.finditer(row.prompt)
        known = {element['action'] for element in elements if element['kind']}
        right, wrong = (text in known for text in row.completions)
        found.append((1 + right - wrong) / 2)
    return np.array(found)


def write(dataset: str, rows: dict[str, np.ndarray]) -> None:
    """Prints a line a baseline."""
    for name, right in rows.items():
        low, high = intervals.bootstrap(lambda x: x.mean(-1), right)
        print(
            f'{dataset}: {name}: {right.mean():.3f} [{low:.3f}, {high:.3f}], '
            f'n={len(right)}'
        )


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    root = pathlib.Path(flags.FLAGS.root)
    harmless = data.load('harmlessness', root=str(root / 'hh-rlhf'), test_only=True)
    write('harmlessness', pairs(harmless))
    refexp = data.load('refexp', root=str(root / 'uibert_refexp'), no_train=True)
    test = refexp.comparisons['test']
    write('refexp pairs', pairs(refexp) | {'described wins': described(test)})
    write('refexp clicks', clicks(refexp))


if __name__ == '__main__':
    flags.DEFINE_string('root', '../shared/data', 'holds hh-rlhf and uibert_refexp')
    app.run(main)
