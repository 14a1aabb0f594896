import dataclasses

import numpy as np
import pytest
import runs

from perl.evaluation import best_of_n
from perl.runs import opening
from perl.runs.judging import open_judge
from perl.system.errors import UserError


@pytest.fixture(scope='module')
def opened(finished, tmp_path_factory):
    """A finished run, opened."""
    workdir = tmp_path_factory.mktemp('best_of_n') / 'run'
    return opening.open_finished(runs.clone(finished, workdir))


def test_best_of_n(opened):
    proxy, sft = open_judge('reward', opened), opened.role('sft')
    found = best_of_n.best_of_n(opened, sft, proxy, 'test', 4)
    curve = found['curves']['reward']
    assert found['sizes'] == [1, 2, 4]
    np.testing.assert_allclose(curve['kl'], [0, 0.193147, 0.636294], atol=1e-6)
    # the proxy can only gain by its own choice
    assert curve['gain'][0] == 0 and np.all(np.diff(curve['gain']) >= 0)
    assert found == best_of_n.best_of_n(opened, sft, proxy, 'test', 4)


def test_best_of_n_needs_gold(opened, monkeypatch):
    plain = dataclasses.replace(opened.dataset, gold=None)
    monkeypatch.setattr(opened, 'dataset', plain)
    with pytest.raises(UserError, match='no gold reward'):
        best_of_n.best_of_n(opened, None, None, 'test', 8)


def test_best_of_n_has_an_end(opened):
    with pytest.raises(UserError, match='5000000000 samples are more than 65536'):
        best_of_n.check(opened, 'test', 5_000_000_000)


def test_best_of_n_needs_prompts(opened, monkeypatch):
    plain = dataclasses.replace(opened.dataset, prompts={'val': []})
    monkeypatch.setattr(opened, 'dataset', plain)
    with pytest.raises(UserError, match='no prompts in its val split'):
        best_of_n.check(opened, 'val', 8)
