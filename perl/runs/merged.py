"""A role as a whole model of transformers."""

import pathlib
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from perl.adapters import peft, tree
from perl.adapters.peft import write_reward
from perl.data.tokenizers import padding
from perl.models import families
from perl.models.files import (
    Tensor,
    beside,
    is_foreign,
    open_checkpoint,
    write_checkpoint,
)
from perl.models.heads import HEAD
from perl.runs.model_alone import reads_messages
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.runs.stored_model import write_stored
from perl.weights import Stored, flatten


def write_merged(run: Run, role: Role, output: pathlib.Path, decoded: bool) -> str:
    """Writes a folder that transformers loads, or one of ours where kernels stay in few
    bits; returns one line of notes for the user.

    Args:
        run: with its base.
        role: with a scalar head, it is written as a classifier.
        output: the folder.
        decoded: writes a base in few bits in floating point, for transformers.

    Raises:
        UserError: the merge would round to few bits, or no family of transformers
            describes the model.
    """
    if not decoded and any(isinstance(x, Stored) for x in flatten(role.base).values()):
        return write_stored(run, role, output)
    params, head = tree.merge(role.base, role.delta), {}
    if HEAD in params:
        head = params[HEAD]
        params = {**params, HEAD: {**head, 'bias': jnp.zeros((), jnp.float32)}}
    path, family = run.config.model.path, family_of_base(run)
    pad, note = None, ''
    if head:
        pad = padding.of_classifier(run.tokenizer)
        note = 'pad is eos, so score one text at a time; ' if pad is None else ''
    foreign = open_checkpoint(path) if path and is_foreign(path) else None
    ids = {f'{x}_token_id': getattr(run.tokenizer, x) for x in ('bos', 'eos', 'pad')}
    if foreign:  # as its makers say them: eos may be several, and pad none
        ids |= {k: foreign.config[k] for k in ids if k in foreign.config}
    if head:
        ids['pad_token_id'] = pad
    made = families.to_foreign(run.arch, params, family, ids)
    own = beside(path) if foreign else {}
    if head and own and pad is not None:
        own = padding.padded_with(own, pad)
    tensors = made.tensors
    if foreign and role.base is run.base and not role.delta:
        tensors = _as_they_were(tensors, foreign.tensors)
    write_checkpoint(
        output, made.config, tensors, beside=own,
        generation=(foreign and foreign.generation) or None,
    )  # fmt: skip
    if not foreign:
        run.tokenizer.save(output / 'tokenizer')
        note = f'the tokenizer is in {output / "tokenizer"}, as ours; {note}'
    if head:
        chat = reads_messages(run)
        write_reward(output, float(head['bias']), role.shift, role.scale, chat)
        note += score_note(role)
    return note


def _as_they_were(
    tensors: Mapping[str, Tensor], source: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Tensors of any shapes in the dtypes that their source has them in, where nothing
    was rounded since."""
    kept = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.dtype == np.float32 and name in source:
            kept[name] = tensor.astype(source[name].dtype)
    return kept


def score_note(role: Role) -> str:
    """How the reported reward follows from the score that was written; '' where it is
    the score."""
    bias = float(role.delta[HEAD]['bias']) if HEAD in role.delta else 0.0
    shift, scale = float(role.shift), float(role.scale)
    if (bias, shift, scale) == (0.0, 0.0, 1.0):
        return ''
    return (
        f'reward = (score + {bias:.6g} - {shift:.6g}) / {scale:.6g}, as {peft.REWARD} '
        'says'
    )


def family_of_base(run: Run) -> families.Family | None:
    """The family of the checkpoint that a run sits on; None for a base of ours."""
    path = run.config.model.path
    if not (path and is_foreign(path)):
        return None
    return families.from_foreign(open_checkpoint(path).config)[0]
