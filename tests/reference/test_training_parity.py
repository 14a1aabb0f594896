"""Twenty updates beside PEFT and torch: the same start, the same batches, AdamW."""

import functools

import jax
import numpy as np
import optax
import peft
import pytest
import torch
from peft_models import LLAMA, base, fresh
from torch.nn import functional

from perl.adapters import peft as ours
from perl.adapters.network import Network
from perl.data import predictions
from perl.models import heads
from perl.stages import dpo, language, reward
from perl.stages.frozen import Frozen
from perl.training import step as steps

STEPS, ROWS, LENGTH, PROMPT, RATE, BETA = 20, 4, 12, 4, 1e-3, 0.3
RNG = np.random.default_rng(3)
TOKENS = RNG.integers(1, 61, (STEPS, ROWS, 2, LENGTH)).astype(np.int32)


def begun(folder, scores):
    """An adapter as PEFT initialises it, saved, and its model."""
    torch.manual_seed(5)
    task = 'SEQ_CLS' if scores else 'CAUSAL_LM'
    # one layer has another rank, and so another scale
    ranks = {} if scores else {r'layers\.1\.self_attn\.q_proj': 2}
    config = peft.LoraConfig(
        task_type=task, r=4, lora_alpha=8, target_modules=LLAMA, rank_pattern=ranks
    )
    model = peft.get_peft_model(fresh('llama', scores), config)
    model.save_pretrained(folder)
    return model


def log_probs(model, ids):
    """Sums over the completions."""
    logits = model(ids, use_cache=False).logits[:, :-1]
    each = torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None])[..., 0]
    return each[:, PROMPT - 1 :].sum(-1)


def sft_loss(model, ids):
    """As transformers has it: the mean over the tokens of completions."""
    ids = ids[:, 0]
    labels = ids.clone()
    labels[:, :PROMPT] = -100
    return model(ids, labels=labels, use_cache=False).loss


def reward_loss(model, ids):
    """As TRL has it: -log sigmoid(chosen - rejected)."""
    chosen, rejected = (model(ids[:, i], use_cache=False).logits[:, 0] for i in (0, 1))
    return -functional.logsigmoid(chosen - rejected).mean()


def dpo_loss(model, ids):
    """As TRL has it: the reference is the model without its adapter."""
    policy = [log_probs(model, ids[:, i]) for i in (0, 1)]
    with torch.no_grad(), model.disable_adapter():
        reference = [log_probs(model, ids[:, i]) for i in (0, 1)]
    margin = policy[0] - policy[1] - (reference[0] - reference[1])
    return -functional.logsigmoid(BETA * margin).mean()


def batch(tokens):
    """Rows that begin with a prompt, without padding, as our losses read them."""
    positions = np.broadcast_to(np.arange(LENGTH, dtype=np.int32), tokens.shape)
    return {
        'tokens': tokens,
        'positions': positions,
        'segments': np.zeros_like(tokens),
        'completion': positions >= PROMPT,
        'sources': np.maximum(positions - 1, 0),
        'ends': np.full((*tokens.shape[:-1], 1), LENGTH - 1, np.int32),
    }


CASES = {
    'sft': (sft_loss, language.loss, {}),
    'reward': (reward_loss, reward.bradley_terry, {}),
    'dpo': (dpo_loss, dpo.loss, {'numbers': dpo.Numbers(beta=BETA)}),
}


@pytest.mark.parametrize('case', CASES)
def test_twenty_updates(case, tmp_path):
    """The losses, the factors and the head."""
    theirs, loss, options = CASES[case]
    model = begun(tmp_path / 'first', case == 'reward')
    arch, params = base('llama')
    delta = ours.read(tmp_path / 'first', arch).delta
    optimizer = optax.adamw(RATE, weight_decay=0.0)
    run = jax.jit(
        functools.partial(
            steps.step,
            loss=functools.partial(loss, arch=arch, **options),
            optimizer=optimizer,
        )
    )
    frozen = params
    if case == 'dpo':
        frozen = Frozen(policy=params, reference=Network(params, {}))
    state = steps.init(delta, optimizer)
    moved = torch.optim.AdamW(
        [x for x in model.parameters() if x.requires_grad], lr=RATE, weight_decay=0.0
    )
    for tokens in TOKENS:
        rows = batch(tokens[:, 0] if case == 'sft' else tokens)
        if case == 'dpo':
            rows = predictions.predictions(rows, LENGTH - PROMPT)
        state, found = run(state, frozen, rows)
        want = theirs(model, torch.tensor(tokens.astype(np.int64)))
        moved.zero_grad()
        want.backward()
        moved.step()
        np.testing.assert_allclose(found['loss'].value, want.item(), atol=1e-5)
    model.save_pretrained(tmp_path / 'last')
    last = ours.read(tmp_path / 'last', arch)
    trained = state['trainable']
    if case == 'reward':  # classifiers have no bias, and a comparison does not move it
        assert float(trained[heads.HEAD]['bias']) == 0
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4), trained, last.delta
    )
    change = [
        float(np.abs(x - y).max())
        for x, y in zip(jax.tree.leaves(delta), jax.tree.leaves(trained), strict=True)
        if np.ndim(x)
    ]
    assert min(change) > 10 * 1e-4
