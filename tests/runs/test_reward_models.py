"""Rewards of texts that share prompts, against those of every text alone."""

import types

import numpy as np
import tiny
from ml_collections import ConfigDict

from perl import sharding
from perl.data.tokenizers.vocabularies import Bytes
from perl.judges import panel
from perl.runs import reward_models
from perl.runs.roles import Role

ARCH = tiny.arch(vocabulary=300)
RUN = types.SimpleNamespace(
    arch=ARCH,
    mesh=sharding.make_mesh(data=1),
    multiple=8,
    tokenizer=Bytes(),
    config=ConfigDict(
        {'lengths': {'prompt': 64, 'response': 16}, 'evaluation': {'batch_size': 4}}
    ),
)


def test_a_shared_prompt_changes_no_reward(monkeypatch):
    base, head = tiny.weights(ARCH), tiny.head()
    judge = Role(base, '', {**tiny.adapter(ARCH), 'head': head}, tiny.LORA, 0.5, 2.0)
    reward = reward_models.on_texts(RUN, panel.build([judge, judge]), 'reward')
    prompts = ['a question that all of them answer', 'another one', 'a last question']
    asked = [prompts[i] for i in (0, 1, 0, 0, 2, 1, 0)]
    said = ['yes', 'no', 'perhaps', 'who knows', 'ask again', 'never', '']
    sizes = []

    def counted(arch):
        score = scorer(arch)

        def run(members, batch):
            sizes.append(batch['tokens'].size)
            return score(members, batch)

        return run

    scorer = reward_models._scorer
    monkeypatch.setattr(reward_models, '_scorer', counted)
    got, shared = reward(asked, said), sum(sizes)
    sizes.clear()
    want = [reward([x], [y])[0] for x, y in zip(asked, said, strict=True)]
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert shared < sum(sizes)


def test_few_shapes_are_compiled_whatever_prompts_are_equal(monkeypatch):
    """Rows that are equal, and lengths of responses, differ from batch to batch."""
    monkeypatch.setattr(RUN.config.evaluation, 'batch_size', 16)
    judge = Role(tiny.weights(ARCH), '', {'head': tiny.head()}, tiny.LORA)
    reward = reward_models.on_texts(RUN, panel.build([judge]), 'reward')
    shapes = set()

    def scorer(arch):
        def run(members, batch):
            shapes.add(batch['tokens'].shape)
            return np.zeros(batch['ends'].shape)

        return run

    monkeypatch.setattr(reward_models, '_scorer', scorer)
    for different in range(9, 17):
        reward([f'{n:02}' for n in range(different)], ['yes'] * different)
    assert shapes <= {(12, 8), (16, 8)}
