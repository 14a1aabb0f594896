"""What PEFT calls the parameters that are trained in full."""

import pytest

from perl.adapters.peft.saving import name_whole
from perl.system.errors import UserError

NAMES = {
    f'{module}.{kind}': (f'our/{module}_{kind}',)
    for module in ('wte', 'q', 'o', 'ln')
    for kind in ('weight', 'bias')
    if (module, kind) != ('wte', 'bias')
}


@pytest.mark.parametrize(
    ('whole', 'saved', 'bias'),
    [
        ((), (), 'none'),
        (('wte.weight',), ('wte',), 'none'),
        (('ln.weight', 'ln.bias'), ('ln',), 'none'),
        (('q.bias',), (), 'lora_only'),
        (('q.bias', 'wte.weight'), ('wte',), 'lora_only'),
        (('q.bias', 'o.bias', 'ln.bias'), (), 'all'),
        (('q.bias', 'o.bias', 'ln.bias', 'ln.weight'), ('ln',), 'all'),
        (('q.bias', 'o.bias', 'o.weight'), ('o',), 'lora_only'),
    ],
)
def test_modules_and_biases(whole, saved, bias):
    """Where `q` has factors."""
    got = name_whole(NAMES, {'q'}, whole)
    beside = {'q.bias': 'q.base_layer.bias'} if 'q.bias' in whole else {}
    assert got == (saved, bias, beside)


@pytest.mark.parametrize(
    ('whole', 'missing'),
    [(('ln.weight',), 'our/ln_bias'), (('ln.bias', 'q.bias'), 'our/ln_weight')],
)
def test_a_module_that_is_trained_in_part(whole, missing):
    with pytest.raises(UserError, match=f'in part, .* train {missing} too'):
        name_whole(NAMES, {'q'}, whole)
