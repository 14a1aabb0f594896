"""A role over a base in few bits as a whole model of ours, whose kernels stay so."""

import pathlib

import jax

from perl.adapters import tree
from perl.adapters.peft import write_reward
from perl.data import chat
from perl.models import store
from perl.models.files import stops
from perl.models.files.folder import GENERATION
from perl.models.heads import HEAD
from perl.runs.model_alone import reads_messages
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.runs.tokenizer import with_template
from perl.system import jsonl
from perl.system.errors import UserError


def write_stored(run: Run, role: Role, output: pathlib.Path) -> str:
    """Writes a folder that `model.path` and `--model` name; returns one line of notes.

    The adapter is merged into what is stored, exactly: QA-LoRA into the offsets of
    INT4. The folder says how its kernels are stored.

    Args:
        run: with its base.
        role: over a base in few bits; with a scalar head, it is written as a reward
            model, which has `reward.json` beside it.
        output: the folder.

    Raises:
        UserError: the merge would round, or the adapter has none.
    """
    params = jax.device_get(tree.fold(role.base, role.delta))
    tokenizer, note = _with_template(run)
    tokenizer.save(output / 'tokenizer')
    # with which a model alone ends its responses
    path = run.config.model.path
    if path and (ends := stops(path)):
        jsonl.save(output / GENERATION, {'eos_token_id': [*ends]})
    if HEAD in params:  # whose bias is in the head
        write_reward(output, 0.0, role.shift, role.scale, reads_messages(run))
    store.save(output, run.arch, params)
    return (
        f'{note}its kernels stay in {run.arch.quantization}: perl loads it, as any base'
    )


def _with_template(run):
    """The tokenizer with the template that its base brings, where the run reads none,
    and a note where that cannot be used: a model alone is asked with it by `--chat`."""
    if isinstance(run.tokenizer, chat.ChatTokenizer):
        return run.tokenizer, ''
    try:
        return with_template(run.tokenizer, run.config.model.path), ''
    except UserError as error:
        return run.tokenizer, f'without its chat template ({error}); '
