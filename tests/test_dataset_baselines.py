"""The script of the baselines that docs/datasets.md reports."""

import numpy as np
import pytest
import released
from imported import imported

from perl import data
from perl.data import Comparison


@pytest.fixture(scope='module')
def script():
    return imported('scripts/dataset_baselines.py')


def test_pairs(script):
    """Good words win, and the shorter one does in two of three."""
    made = data.Dataset('made up')
    rows = [
        Comparison('p', ('good', 'bad bad')),
        Comparison('p', ('good good', 'bad bad bad')),
        Comparison('p', ('good good good', 'bad')),
    ]
    made.comparisons.update(train=rows * 4, test=[*rows, Comparison('p', ('a', 'b'))])
    found = script.pairs(made)
    assert list(found['the shorter response is better']) == [1, 1, 0, 0.5]
    assert list(found['bag of words']) == [1, 1, 1, 0.5]


def test_clicks(script, tmp_path):
    """Four elements of which three are described; the third says nothing asked for."""
    released.refexp(tmp_path, size=6)
    found = script.clicks(data.load('refexp', root=str(tmp_path), no_train=True))
    assert set(found['any element']) == {0.25}
    np.testing.assert_allclose(found['any described element'], 1 / 3)
    assert found['shared words'][0] == 1.0


def test_described(script, tmp_path):
    """The element without a leaf is the first, at the top of the screen."""
    released.refexp(tmp_path, size=6)
    made = data.load('refexp', root=str(tmp_path), no_train=True)
    rows = made.comparisons['test']
    expected = [1.0 if r.completions[1] == ' click(0)' else 0.5 for r in rows]
    assert list(script.described(rows)) == expected and 1.0 in expected


def test_write(script, capsys):
    script.write('set', {'always': np.ones(8)}, np.arange(8) // 2)
    line = 'set: always: 1.000 [0.510, 1.000], n=8 in 4 clusters\n'
    assert capsys.readouterr().out == line
