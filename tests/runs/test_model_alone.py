"""A model without a run."""

import dataclasses

import jax
import pytest

from perl.adapters import bundle
from perl.adapters.tunings import create
from perl.data import chat
from perl.models.architecture import parameters
from perl.runs.model_alone import conversations, open_alone, open_one
from perl.system.errors import UserError


@pytest.fixture(scope='module')
def base(finished):
    """A base of ours."""
    return str(finished / 'pretrain' / 'base')


def test_a_bundle_says_how_its_base_is_stored(base, tmp_path):
    run = open_alone(base)
    assert run.arch.quantization == 'none'
    tuning = create({'name': 'qlora', 'rank': 2})
    delta = tuning.init(jax.random.key(0), None, parameters(run.arch))
    stored = f'{run.base_id}-nf4'
    card = bundle.Card('policy', tuning, stored, run.tokenizer.fingerprint)
    bundle.save(tmp_path / 'one', delta, card)
    again = open_alone(base, str(tmp_path / 'one'))
    assert again.arch.quantization == 'nf4' and again.base_id == stored
    assert again.role(str(tmp_path / 'one')).tuning == tuning
    bundle.save(tmp_path / 'two', delta, dataclasses.replace(card, base='other-odd'))
    run = open_alone(base, str(tmp_path / 'two'))
    with pytest.raises(UserError, match='was trained on the base other-odd'):
        run.role(str(tmp_path / 'two'))


def test_prompts_as_messages_want_a_template(base):
    run = open_alone(base, converses=True)
    with pytest.raises(UserError, match='--chat: the model has no chat template'):
        conversations(run, ['Hello.'])
    template = chat.Template('{{ messages[0].content }}', '<s>', '</s>', 'here')
    run.tokenizer = chat.ChatTokenizer(run.tokenizer, template, (run.tokenizer.eos,))
    [made] = conversations(run, ['Hello.'])
    assert made == 'Hello.' and made.messages == (('user', 'Hello.'),)


def test_an_adapter_that_is_not_there(base):
    with pytest.raises(UserError, match='--adapter: gone is not there; give the'):
        open_alone(base, 'gone')
    assert open_alone(base, 'base').base_id == open_alone(base).base_id


def test_errors_name_the_flag(finished):
    with pytest.raises(UserError, match=r'^--model: .* is the folder of a run or'):
        open_alone(str(finished))


@pytest.mark.parametrize('flags', [('', ''), ('a', 'b')])
def test_one_of_two_flags(flags):
    with pytest.raises(UserError, match='--workdir or --model is required: give'):
        open_one(*flags)
