"""Records to ids: what is cut is counted, what cannot be learnt from is refused."""

import numpy as np
import pytest

from perl.data import Comparison, Demonstration, Rating, encode
from perl.data.tokenizers.files import Bytes
from perl.system.errors import UserError

BYTES = Bytes()


def ids(text):
    return [3 + byte for byte in text.encode()]


def test_bos_first_and_eos_last():
    examples, counts = encode([Demonstration('ab', 'c')], BYTES, 8, 8)
    assert examples.prompts[0].tolist() == [1, *ids('ab')]
    assert examples.completions[0][0].tolist() == [*ids('c'), 2]
    assert examples.prompts[0].dtype == examples.completions[0][0].dtype == np.int32
    assert counts['examples'] == 1 and counts['prompts_cut'] == 0
    assert (counts['prompt_tokens'], counts['response_tokens']) == (3, 2)


def test_prompts_lose_their_start_and_responses_their_end():
    examples, counts = encode([Demonstration('abcdef', 'uvwxyz')], BYTES, 4, 5)
    assert examples.prompts[0].tolist() == [1, *ids('def')]
    assert examples.completions[0][0].tolist() == ids('uvwxy')
    assert counts['prompts_cut'] == counts['responses_cut'] == 1
    assert counts['prompt_tokens_cut'] == 3
    assert counts['response_tokens_cut'] == 2


def test_what_just_fits_is_whole():
    _, counts = encode([Demonstration('abc', 'wxyz')], BYTES, 4, 5)
    assert counts['prompts_cut'] == counts['responses_cut'] == 0


@pytest.mark.parametrize(
    ('records', 'completions', 'labels'),
    [
        (['p', 'q'], 0, [1, 1]),
        ([Demonstration('p', 'r')], 1, [1]),
        ([Rating('p', 'r', 0.25), Rating('p', 's', 1.0)], 1, [0.25, 1]),
        ([Comparison('p', ('a', 'b', 'c'))], 3, [1]),
    ],
)
def test_kinds(records, completions, labels):
    examples, _ = encode(records, BYTES, 8, 8)
    assert {len(row) for row in examples.completions} == {completions}
    assert examples.labels.dtype == np.float32
    assert examples.labels.tolist() == labels
    assert len(examples) == len(records)


def test_lengths():
    examples, _ = encode([Comparison('ab', ('c', 'defg'))], BYTES, 8, 8)
    assert examples.lengths.tolist() == [3 + 5]


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        (Demonstration('p', ''), 'row 2: completion 1 is empty'),
        (Rating('p', ' \n', 1.0), 'row 2: completion 1 is empty'),
        (Rating('p', 'r', 2.0), r'row 2: the label 2.0'),
        (Rating('p', 'r', float('nan')), 'row 2: the label nan'),
        (Comparison('p', ('a',)), 'row 2: a comparison needs two'),
        (Comparison('p', ('a', 'b')), 'row 2 has 2 completions, row 1 has 1: .*two'),
    ],
)
def test_bad_rows(bad, message):
    with pytest.raises(UserError, match=message):
        encode([Demonstration('p', 'r'), bad], BYTES, 8, 8)


def test_lengths_without_room():
    with pytest.raises(UserError, match='max_response 0'):
        encode([Demonstration('p', 'r')], BYTES, 8, 0)
