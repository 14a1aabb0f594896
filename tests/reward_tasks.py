"""A small reward task, on rankings of different lengths."""

import tiny

from perl import config as configs
from perl import sharding
from perl.data import Comparison, encode
from perl.data.tokenizers import Bytes
from perl.evaluation.reward_task import RewardTask
from perl.runs.roles import Role

ARCH = tiny.arch(vocabulary=259)
ROLE = Role(
    tiny.weights(ARCH), 'base1', {**tiny.adapter(ARCH), 'head': tiny.head()}, tiny.LORA
)
RANKINGS = [
    Comparison('ab', ('c', 'dd', 'e')),
    Comparison('b', ('ee', 'f')),
    Comparison('b', ('ee', 'f', 'g', 'hh')),
]


def encoded(records, name=''):
    return encode(records, Bytes(), 8, 8)[0]


def a_task(**changes):
    section = configs.experiment('ranked').reward
    section.update(batch_size=2, **changes)
    return RewardTask(
        section=section,
        raw={'val': RANKINGS},
        demonstrations=[],
        encode=encoded,
        arch=ARCH,
        mesh=sharding.make_mesh(),
        multiple=8,
    )
