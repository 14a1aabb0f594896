"""The config of a real instruction-tuned model; what it gives is in a page of docs."""

import pathlib

import pytest

from perl import config as configs
from perl.config import rules
from perl.system.errors import UserError

PATH = pathlib.Path(__file__).parents[1] / 'configs' / 'smollm2.py'
DATA = ('harmlessness', 'taskmaster_coffee', 'taskmaster_ticketing')


def load(arg):
    return configs.load_config(f'{PATH}:{arg}')


@pytest.mark.parametrize('data', DATA)
@pytest.mark.parametrize('more', ['', ',scale=gpu,rank=4', ',tuning=head,seed=2'])
def test_reward_and_policy_over_the_base(data, more):
    config = load(f'data={data},base=model.gguf{more}')
    rules.validate(config)
    probed = data != 'harmlessness' and 'head' not in more
    assert config.stages == (*['probe'][:probed], 'reward', 'policy')
    assert config.policy.start == 'base'
    assert config.reward.start == ('probe' if probed else 'base')
    assert not probed or config.probe.head_only
    assert config.reward.head_only == ('head' in more)
    half = config.model.dtype if 'gpu' in more else config.model.precision
    assert half == 'bfloat16'
    assert config.reward.loss == (
        'bradley_terry' if data == 'harmlessness' else 'pointwise'
    )


@pytest.mark.parametrize(
    'arg, says',
    [
        ('data=harmlessness', 'no base is given; write base=MODEL.gguf'),
        ('data=shp,base=x', r"data='shp' is not one of harmlessness, taskmaster_coff"),
        ('scale=tpu,base=x', r"scale='tpu' is not one of cpu, gpu"),
        ('tuning=full,base=x', r"tuning='full' is not one of lora, head"),
    ],
)
def test_arguments_that_cannot_be(arg, says):
    with pytest.raises(UserError, match=says):
        load(arg)
