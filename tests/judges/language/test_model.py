"""Log-probs of options: against numpy on rows of their own, and the laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from perl import judges
from perl.adapters import tree
from perl.data.tokenizers import Bytes, train_sentencepiece
from perl.judges.language import choose as choosing
from perl.judges.language.answers import Answers, remembered
from perl.judges.language.model import Model, probabilities
from perl.judges.language.questions import (
    HARMLESS,
    PAIRWISE,
    SCORE,
    SINGLE,
    Template,
)
from perl.models import decoder
from perl.system.errors import UserError

ARCH = tiny.arch(vocabulary=259, max_length=160)
PARAMS = tiny.weights(ARCH)
ROWS = [
    ('Why?', 'Because.', 'No idea at all.'),
    ('A much longer prompt, to pad the others.', 'Yes', 'é'),
    ('', 'a', 'b'),
    ('Why?', 'No idea at all.', 'Because.'),
    ('x', 'same', 'same'),
]
COLUMNS = list(map(list, zip(*ROWS, strict=True)))
BRIEF = PAIRWISE['brief']


def single(name, like):
    """A short template on one response with the options of another."""
    return Template(name, SINGLE, '{prompt}|{response}|', like.options, like.values)


GRADE, SAFE = single('grade', SCORE), single('safe', HARMLESS)


def model(params=PARAMS, batch_size=4):
    return Model(ARCH, params, Bytes(), batch_size, 96)


@jax.jit
def logits_of(params, tokens):
    positions = jnp.arange(len(tokens))[None]
    states = decoder.hidden(ARCH, params, tokens[None], positions)
    return decoder.unembed(ARCH, params, states)[0]


def next_log_probs(params, ids):
    """Log-probs float64 of each next token [T, V]: a row alone, plain causal."""
    row = np.zeros(96, np.int32)  # what follows cannot be seen
    row[: len(ids)] = ids
    logits = np.asarray(logits_of(params, row), np.float64)[: len(ids)]
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def by_hand(params, question, template):
    """Chances of the options: walks each of them token by token; an option that may go
    on to a longer one ends where that does not happen."""
    encode, chances = Bytes().encode, []
    for option in template.options:
        ids = [1, *encode(question), *encode(option)]
        log_p = next_log_probs(params, ids)
        start = len(ids) - len(encode(option))
        p = np.prod([np.exp(log_p[t - 1, ids[t]]) for t in range(start, len(ids))])
        for longer in template.options:
            if longer != option and longer.startswith(option):
                [after] = encode(longer[len(option) :])
                p *= 1 - np.exp(log_p[-1, after])
        chances.append(p)
    return np.array(chances) / np.sum(chances)


def questions(template):
    return [dict(zip(template.fields, row, strict=False)) for row in ROWS]


@pytest.mark.parametrize('template', [BRIEF, GRADE], ids=lambda t: t.name)
@pytest.mark.parametrize('adapted', [False, True])
def test_against_numpy(template, adapted):
    params = tree.bind(PARAMS, tiny.adapter(ARCH)) if adapted else PARAMS
    asked = questions(template)
    got = model(params)(template, asked)
    want = [by_hand(params, template.fill(q), template) for q in asked]
    np.testing.assert_allclose(got, want, atol=2e-6)
    np.testing.assert_allclose(got.sum(1), 1)


def test_soft_label_and_score_by_hand():
    choose = model()
    prompts, firsts, _ = COLUMNS
    label = judges.both_orders(choosing.preference(choose, BRIEF), *COLUMNS).preferences
    asked = questions(BRIEF)
    turned = [{**q, 'first': q['second'], 'second': q['first']} for q in asked]
    one, other = (
        np.array([by_hand(PARAMS, BRIEF.fill(q), BRIEF) for q in qs])
        for qs in (asked, turned)
    )
    np.testing.assert_allclose(label, (one[:, 0] + other[:, 1]) / 2, atol=2e-6)
    scores = choosing.reward(choose, GRADE)(prompts, firsts)
    p = np.array([by_hand(PARAMS, GRADE.fill(q), GRADE) for q in questions(GRADE)])
    expected = (p * np.arange(1, 11)).sum(1)
    np.testing.assert_allclose(scores, (expected - 5.5) / 4.5, atol=2e-6)


@pytest.mark.parametrize('kept', [False, True])
def test_exchanging_the_candidates_gives_exactly_the_rest(kept):
    choose = remembered(model(), Answers(), 'm') if kept else model()
    ask = choosing.preference(choose, BRIEF)
    prompts, firsts, seconds = COLUMNS
    one, other = (
        judges.both_orders(ask, prompts, *pair).preferences
        for pair in ((firsts, seconds), (seconds, firsts))
    )
    assert (other == 1 - one).all()
    assert one[4] == 0.5 and one[0] == 1 - one[3]
    assert len(set(one)) > 3, 'and it does not say the same of all'


def test_batches_do_not_matter():
    small, large = (model(batch_size=n)(BRIEF, questions(BRIEF)) for n in (3, 4))
    np.testing.assert_allclose(small, large, atol=1e-6)


@pytest.mark.parametrize(
    ('size', 'asked', 'batches'),
    [(64, 3, [3]), (64, 5, [6]), (4, 5, [4, 4]), (4, 0, [])],
)
def test_no_more_rows_are_computed_than_a_few(size, asked, batches, monkeypatch):
    rows, log_probs = [], Model._log_probs

    def counted(self, examples, chosen):
        rows.append(len(chosen))
        return log_probs(self, examples, chosen)

    monkeypatch.setattr(Model, '_log_probs', counted)
    few = questions(BRIEF)[:asked]
    got = model(batch_size=size)(BRIEF, few)
    assert rows == batches and got.shape == (asked, 2)
    np.testing.assert_allclose(got, model()(BRIEF, few), atol=1e-6)


def test_harmless_rate():
    got = choosing.reward(model(), SAFE)(*COLUMNS[:2])
    want = [by_hand(PARAMS, SAFE.fill(q), SAFE)[0] for q in questions(SAFE)]
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_a_long_prompt_loses_its_beginning():
    judge = model()
    long = {'prompt': 'é' * 99 + 'ends', 'first': 'a', 'second': 'b'}
    # 160 tokens hold bos, an option and 158 bytes; all but the prompt take 19
    left = {**long, 'prompt': long['prompt'].encode()[-139:].decode(errors='ignore')}
    assert len(BRIEF.fill(left).encode()) == 157, 'no half of an é'
    np.testing.assert_array_equal(judge(BRIEF, [long]), judge(BRIEF, [left]))
    assert judge.report() == {'prompts_cut': 1, 'too_long': 0}


def test_no_room_even_without_the_prompt():
    judge, short = model(), {'prompt': 'p', 'first': 'a', 'second': 'b'}
    long = {**short, 'first': 'a' * 300}
    got = judge(BRIEF, [long, short])
    assert np.isnan(got[0]).all() and not np.isnan(got[1]).any()
    assert judge.report() == {'prompts_cut': 0, 'too_long': 1}
    assert np.isnan(judge(BRIEF, [long])).all()


def test_options_that_are_one_to_the_tokenizer():
    blind = train_sentencepiece(['abc abd'] * 9, 20, byte_fallback=False)
    judge = Model(ARCH, PARAMS, blind)
    with pytest.raises(UserError, match='equal ids for some of the answers 1, 2'):
        judge(BRIEF, [{'prompt': 'a', 'first': 'b', 'second': 'c'}])


def test_an_option_that_begins_others_keeps_its_own_share():
    options = [np.array(ids) for ids in ([1], [1, 0], [1, 0, 0], [2])]
    whole = np.log([[0.6, 0.5, 0.2, 0.1]])
    got = probabilities(whole, options)
    np.testing.assert_allclose(got, np.array([[0.1, 0.3, 0.2, 0.1]]) / 0.7)


def test_far_away_log_probs_do_not_vanish():
    got = probabilities(np.array([[-900.0, -901.0]]), [np.array([1]), np.array([2])])
    np.testing.assert_allclose(got[0, 0], 1 / (1 + np.exp(-1.0)))


def test_on_a_mesh():
    """Under the mesh of a run with several devices, the same figures."""
    from perl import sharding
    from perl.models import architecture

    want = model(batch_size=4)(BRIEF, questions(BRIEF))
    mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
    leaves = architecture.parameters(ARCH)
    placed = jax.device_put(PARAMS, sharding.shardings(leaves, mesh))
    with jax.set_mesh(mesh):
        got = model(placed, batch_size=4)(BRIEF, questions(BRIEF))
    np.testing.assert_allclose(got, want, atol=1e-5)
