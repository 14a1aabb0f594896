"""The loop around an update: what it writes, and what it says where it stops."""

import jax.numpy as jnp
import pytest

from perl.system import metrics
from perl.system.errors import UserError
from perl.system.interrupt import Interrupt
from perl.training import fit as fitting
from perl.training.fit import fit
from perl.training.loop import Loop

NAN = float('nan')


def run(folder, rows, **options):
    """A stage whose steps have these metrics."""
    settings = {'steps': len(rows), 'save_every': 9, 'interrupt': Interrupt()}
    loop = Loop(folder, **settings | options)
    return fit(loop, jnp.zeros(2), lambda state, step: (state + 1, rows[step]))


def test_tokens_become_tokens_per_second(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(fitting.time, 'monotonic', lambda: now[0])

    def update(state, step):
        now[0] += 4.0
        return state, {'loss': jnp.float32(1), 'tokens': 100}

    def evaluate(state, step):
        now[0] += 1000.0
        return {}

    settings = {'steps': 3, 'save_every': 9, 'evaluate': evaluate, 'eval_every': 1}
    folder = tmp_path / 'sft'
    fit(Loop(folder, interrupt=Interrupt(), **settings), jnp.zeros(2), update)
    for row in metrics.read(folder):
        assert 'tokens' not in row
        assert row['loss'] == 1 and row['tokens_per_second'] == 100 / 4


def test_evaluations_join_the_line_of_their_step(tmp_path):
    def evaluate(state, step):
        return {'val_loss': jnp.float32(step)}

    run(tmp_path / 'sft', [{'loss': 1.0}] * 5, evaluate=evaluate, eval_every=2)
    found = [row.get('val_loss') for row in metrics.read(tmp_path / 'sft')]
    assert found == [None, 2, None, 4, 5]


def test_the_line_of_step_1_has_the_figures_before_it(tmp_path):
    def evaluate_start(state):
        return {'val_loss': jnp.sum(state)}

    rows = [{'loss': 1.0}] * 3
    run(tmp_path / 'sft', rows, evaluate_start=evaluate_start, save_every=2)
    found = [row.get('start_val_loss') for row in metrics.read(tmp_path / 'sft')]
    assert found == [0, None, None]
    run(tmp_path / 'sft', [*rows, *rows], evaluate_start=evaluate_start)
    found = [row.get('start_val_loss') for row in metrics.read(tmp_path / 'sft')]
    assert found == [0] + [None] * 5, 'not again in a later sitting'


def test_a_start_that_is_not_finite_is_not_called_a_learning_rate(tmp_path):
    with pytest.raises(UserError, match=r'start_val_loss .* before the first update'):
        run(
            tmp_path / 'sft',
            [{'loss': 1.0}],
            evaluate_start=lambda _: {'val_loss': NAN},
        )


@pytest.mark.parametrize(
    ('rows', 'says'),
    [
        (
            [{'loss': NAN, 'grad_norm': NAN}],
            'sft: grad_norm, loss is not finite at step 1, before the first update: a '
            'weight that the stage starts from',
        ),
        (
            [{'loss': 1.0, 'val_loss': NAN}],
            'sft: val_loss is not finite at step 1; lower the learning rate',
        ),
        (
            [{'loss': 1.0}, {'loss': float('inf')}],
            'sft: loss is not finite at step 2; lower the learning rate',
        ),
    ],
)
def test_the_cause_of_what_is_not_finite(tmp_path, rows, says):
    with pytest.raises(UserError, match=says):
        run(tmp_path / 'sft', rows, before_update=('loss', 'grad_norm'))
    assert len(metrics.read(tmp_path / 'sft')) == len(rows)
