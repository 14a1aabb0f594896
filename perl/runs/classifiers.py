"""Reward models of other projects: classifiers of one label (`num_labels=1`).

Such a model has a base, a tokenizer and a chat template of its own, so texts go to it
and not token ids. What `perl.export --format=merged` writes of a reward model is one
too; `reward.json` beside it says how it was trained.
"""

import functools

import jax
import numpy as np

from perl.adapters import peft
from perl.data.chat import as_messages
from perl.data.whole_texts import encode_whole
from perl.judges import panel
from perl.judges.reward import Reward, Texts
from perl.models.files import is_foreign, located, open_checkpoint
from perl.models.heads import HEAD
from perl.runs import reward_models
from perl.runs.base import over, tokenizer_of
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.runs.tokenizer import with_template
from perl.system.errors import renamed


@renamed('model.path', 'reward model')
def load(name: str, mesh: jax.sharding.Mesh | None = None) -> tuple[Run, Reward]:
    """A classifier as the base of a run without stages, and its rewards.

    It reads the last token of a conversation that its own chat template renders, or of
    prompt and response where it has none. One that was written here reads what it was
    trained on, and gives the rewards of the run that it is of.

    Args:
        name: its folder.
        mesh: where its parameters lie; None for one device.

    Raises:
        UserError: it is damaged, has more than one label, or brings no tokenizer, or
            one with a chat template that cannot be used.
    """
    folder = located(name)
    ours = (folder / peft.REWARD).is_file() or not is_foreign(folder)
    notes = peft.notes_of(folder)
    tokenizer = tokenizer_of(name)
    if not ours or notes.get('chat'):
        tokenizer = with_template(tokenizer, name)
    run = over(name, tokenizer, mesh, scores=True)
    params = dict(run.base)
    head = params.pop(HEAD)
    head = {**head, 'bias': head['bias'] + notes['bias']}
    role = Role(params, run.base_id, {HEAD: head}, None, notes['shift'], notes['scale'])
    members = panel.build([role])
    if not ours:
        pad = open_checkpoint(folder).config.get('pad_token_id')
        encode = functools.partial(encode_whole, pad=pad)
        return run, reward_models.on_texts(run, members, name, encode)
    rewards = reward_models.on_texts(run, members, name)

    def reward(prompts: Texts, responses: Texts) -> np.ndarray:
        asked = map(as_messages, prompts) if notes.get('chat') else prompts
        return rewards([*asked], responses)

    return run, reward
