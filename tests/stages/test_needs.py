"""Memory of programs, and what a compiler says of those that do not fit."""

import pytest
from jax.errors import JaxRuntimeError

from perl.stages.needs import _compiled


class Lowered:
    def __init__(self, text):
        self.text = text

    def compile(self):
        raise JaxRuntimeError(self.text)


def test_what_does_not_fit_is_measured_too():
    text = (
        'RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in '
        'memory space hbm. Used 20.50G of 15.75G hbm. Exceeded hbm capacity by 4.75G.'
    )
    assert _compiled(Lowered(text), 2 * 2**30) == (int(18.5 * 2**30), '')


def test_other_failures_are_not_hidden():
    with pytest.raises(JaxRuntimeError, match='INTERNAL'):
        _compiled(Lowered('INTERNAL: something else'), 0)
