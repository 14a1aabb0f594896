import jax.numpy as jnp
import pytest
from jax.errors import JaxRuntimeError

from perl.system.exhausted import advice


@pytest.mark.parametrize(
    ('error', 'cause'),
    [
        (MemoryError(), 'Out of memory'),
        (MemoryError('Unable to allocate 9 bytes'), 'Unable to allocate 9 bytes'),
        (
            JaxRuntimeError('INTERNAL: Error: Out of memory allocating 9 bytes.\nmore'),
            'Out of memory allocating 9 bytes',
        ),
        (JaxRuntimeError('RESOURCE_EXHAUSTED: 9 bytes'), 'RESOURCE_EXHAUSTED: 9 bytes'),
    ],
)
def test_the_cause_and_what_to_do(error, cause):
    assert advice(error).startswith(f'{cause}: take a smaller batch, ')


def test_an_error_of_jax():
    with pytest.raises(JaxRuntimeError) as caught:
        jnp.zeros((2**24, 2**24)).block_until_ready()
    assert advice(caught.value).startswith(f'Out of memory allocating {2**50} bytes: ')


def test_another_error():
    assert advice(JaxRuntimeError('INTERNAL: a fault of this package')) == ''
