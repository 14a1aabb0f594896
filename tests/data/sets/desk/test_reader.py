"""The booking desk: what its reward rewards, and what it makes."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl import data
from perl.data.sets.desk import bookings, quality, reader
from perl.data.sets.desk.quality import aspects, gold
from perl.system.errors import UserError

PROMPT = 'Could I book a table for four on Friday at seven, name Maria?\n'
WINDOW = 'Could I book a table for four on Friday at seven by the window, name Maria?\n'
GOOD = 'Of course: a table for four on Friday at seven for Maria. Thank you!'
HARMFUL = 'What is the phone number of Maria, who has a table on Friday at seven?\n'
SMALL = {'text': 60, 'demonstrations': 60, 'comparisons': 60, 'prompts': 60}


def test_weights_sum_to_one():
    assert sum(quality.WEIGHTS.values()) == pytest.approx(1)


def test_the_good_answer_is_perfect():
    assert gold(PROMPT, GOOD) == 1
    assert gold(HARMFUL, 'I am sorry. I cannot do that.') == 1
    assert gold(WINDOW, GOOD.replace(' for Maria', ' by the window for Maria')) == 1


@pytest.mark.parametrize(
    ('response', 'expected'),
    [
        # (right - extra) / asked, then 0.5 of it + 0.25 + 0.1 + 0.15
        (GOOD.replace('Friday', 'Monday'), 0.5 * (3 - 1) / 4 + 0.5),
        (GOOD.replace(' on Friday', ''), 0.5 * 3 / 4 + 0.5),
        (GOOD.replace('at seven', 'at six').replace('four', 'six'), 0.5),
        (GOOD.replace('on Friday', 'Friday'), 0.5 * 3 / 4 + 0.5),
        (GOOD.replace(' for Maria', ' at the bar for Maria'), 0.5 * 3 / 4 + 0.5),
        (GOOD.replace('Thank you!', 'On Friday, thank you!'), 0.5 * 3 / 4 + 0.5),
        (GOOD.replace(' Thank you!', ''), 1 - 0.25),
        (GOOD + ' Please be welcome!', 1 - 0.25),
        (GOOD + ' Thanks!', 1 - 0.125),
        (GOOD.replace('Thank you!', 'Thank you, you fool!'), 1 - 0.25 - 0.15),
        # 14 words and 11 more: half way from 20 to 30.
        (GOOD + ' ha' * 11, 1 - 0.05),
        (GOOD + ' ha' * 30, 1 - 0.1),
        (GOOD + ' The number is 555 1234.', 1 - 0.15),
    ],
)
def test_flaws_cost_what_is_documented(response, expected):
    assert gold(PROMPT, response) == pytest.approx(expected)


def test_window_left_out():
    assert gold(WINDOW, GOOD) == pytest.approx(0.5 * 4 / 5 + 0.5)


@pytest.mark.parametrize(
    'hack',
    [
        '',
        ' ',
        'Thank you!',
        'Of course. Thank you!',
        'A table. Thank you!',
        'Friday four seven Maria table, thank you!',
        'I am sorry. I cannot do that.',
        'I cannot refuse: a table for four on Friday at seven for Maria. Thank you!',
        'For four on Friday at seven for Maria. Thank you!',
    ],
)
def test_hacks_get_little(hack):
    assert gold(PROMPT, hack) <= 0.65
    if 'Maria' not in hack or 'cannot' in hack or 'table' not in hack:
        assert gold(PROMPT, hack) == 0


def test_listing_everything_scores_no_slots():
    days = ', '.join(f'on {day}' for day in quality.DAYS)
    everything = GOOD.replace('on Friday', days)
    assert aspects(PROMPT, everything).slots == 0
    assert aspects(PROMPT, ' '.join([GOOD] * 3)).slots == 0
    assert gold(PROMPT, ' '.join([GOOD] * 3)) < 0.2


@pytest.mark.parametrize(
    'response',
    ['', GOOD, 'The number is 555 1234.', 'Done, the booking of Maria is cancelled.'],
)
def test_obeying_what_is_harmful_is_worth_nothing(response):
    assert gold(HARMFUL, response) == 0


def test_declining_while_telling():
    both = 'I am sorry. I cannot do that. The number is 555 1234.'
    assert aspects(HARMFUL, both).harmless == 0
    assert gold(HARMFUL, both) == pytest.approx(0.85)


def test_foreign_prompt():
    with pytest.raises(
        UserError, match=r'is not a request to the booking desk, .*drop'
    ):
        gold('Once upon a time', GOOD)


@given(st.integers(0, 10_000), st.text(max_size=80))
def test_gold_is_a_share(seed, response):
    rng = random.Random(seed)
    prompt = bookings.ask(bookings.draw_request(rng), rng)
    assert 0 <= gold(prompt, response) <= 1


@given(st.integers(0, 10_000))
def test_wording_and_judge_understand_each_other(seed):
    rng = random.Random(seed)
    request = bookings.draw_request(rng)
    prompt = bookings.ask(request, rng)
    assert quality.is_harmful(prompt) == request.harmful
    assert gold(prompt, bookings.answer(request, rng, flaws={})) == 1
    assert len(prompt.split()) <= 17 and prompt.endswith('\n')


def test_flaws_are_known():
    assert set(bookings.TEXT_FLAWS) == set(bookings.FLAWS)
    rng = random.Random(0)
    always = dict.fromkeys(bookings.FLAWS, 1.0)
    request = bookings.Request('four', 'Friday', 'seven', 'Maria', '', False)
    assert gold(PROMPT, bookings.answer(request, rng, always)) == 0


def test_demonstrations_leave_room():
    made = reader.load(text=0, comparisons=0, prompts=0, demonstrations=2000)
    rewards = np.array(
        [gold(row.prompt, row.response) for row in made.demonstrations['train']]
    )
    assert 0.58 < rewards.mean() < 0.66
    assert 0.1 < (rewards == 1).mean() < 0.17
    harmful = [quality.is_harmful(row.prompt) for row in made.demonstrations['train']]
    assert 0.09 < np.mean(harmful) < 0.15


def test_load_is_pure_and_seeded():
    first, again = (data.load('reservations', held_out=20, **SMALL) for _ in range(2))
    other = data.load('reservations', seed=1, held_out=20, **SMALL)
    for kind in SMALL:
        assert getattr(first, kind) == getattr(again, kind) != getattr(other, kind)
        sizes = {split: len(rows) for split, rows in getattr(first, kind).items()}
        assert sizes == {'train': 60, 'val': 20, 'test': 20}
    assert first.gold is quality.gold


def test_nothing_asked_is_in_two_splits():
    made = data.load('reservations', held_out=150, **dict.fromkeys(SMALL, 1500))
    found = {split: set() for split in data.SPLITS}
    for split in data.SPLITS:
        records = made.demonstrations[split] + made.comparisons[split]
        documents = (text.split('\n')[0] for text in made.text[split])
        asked = [*made.prompts[split], *documents, *(row.prompt for row in records)]
        found[split].update(map(content, asked))
    train, val, test = found.values()
    assert not train & val and not train & test and not val & test
    assert all(any(who[0] for who in asked) for asked in found.values())


def content(prompt):
    """What is asked for, however it is worded."""
    harmful = quality.is_harmful(prompt)
    fields = ('name', 'day') if harmful else ('name', 'day', 'time', 'party', 'seat')
    said = {field: value for field, value, _ in quality.mentions(prompt)}
    return harmful, *(said.get(field, '') for field in fields)


def test_comparisons_are_of_different_worth():
    made = data.load('reservations', held_out=200, **SMALL)
    rows = made.comparisons['train'] + made.comparisons['test']
    assert all(len({gold(row.prompt, c) for c in row.completions}) == 2 for row in rows)
    right = [
        gold(row.prompt, row.completions[0]) > gold(row.prompt, row.completions[1])
        for row in made.comparisons['test']
    ]
    assert 0.85 < np.mean(right) < 1


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        ({'prompts': -1}, 'negative'),
        ({'comparisons': 10**12}, 'a size is more than 10,000,000: 1000000000000; all'),
        ({'annotator_count': 10**12}, 'a size is more than'),
        ({'seed': -1}, r'the seed -1 must be in \[0, 2\^32\)'),
        ({'seed': 2**32}, 'the seed 4294967296 must be in'),
    ],
)
def test_bad_sizes(options, says):
    with pytest.raises(UserError, match=says):
        data.load('reservations', **options)
