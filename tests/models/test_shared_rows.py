"""How many responses share a row, for shapes of which it is known."""

import pytest

from perl.models.shared_rows import together


@pytest.mark.parametrize(
    ('prompt', 'response', 'want'),
    [(160, 64, 4), (64, 32, 4), (512, 512, 2), (16, 512, 1)],
)
def test_how_many_share_a_row(prompt, response, want):
    """Long prompts are shared by all, short ones before long responses by none."""
    assert together(128, 4, prompt, response) == want
    assert together(128, 1, prompt, response) == 1
