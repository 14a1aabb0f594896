"""A GGUF file as a checkpoint of Hugging Face."""

import pathlib
from typing import Any

from perl.models.files.checkpoint import Checkpoint
from perl.models.files.gguf_config import architecture, config_of, ids
from perl.models.files.gguf_header import Header, package, read_header
from perl.models.files.gguf_names import DIALECTS, ROPE_FACTORS, name_of, undone
from perl.models.files.gguf_tensors import tensor_of
from perl.system.errors import UserError

_END_OF_TURN = 'tokenizer.ggml.eot_token_id'


def read_gguf(file: pathlib.Path) -> Checkpoint:
    """The checkpoint of a file, no tensor of it unpacked.

    Raises:
        UserError: it is truncated, of another format, or of an architecture, a packing
            or a setting that is not known; or the package `gguf` is not installed.
    """
    package()
    header = read_header(file)
    dialect = DIALECTS[architecture(file, header)]
    config = config_of(file, header)
    tensors = {}
    for theirs, stored in header.tensors.items():
        if theirs == ROPE_FACTORS:
            continue
        name = name_of(dialect, theirs)
        if name is None:
            raise UserError(
                f'model.path: {file}: nothing is known of its tensor {theirs}; give '
                'the model as a folder of Hugging Face'
            )
        tensor = tensor_of(file, theirs, stored)
        tensors[name] = undone(dialect, name, tensor, config)
    return Checkpoint(config, tensors, generation_of(header), str(file))


def generation_of(header: Header) -> dict[str, Any]:
    """The ids of `generation_config.json`; eos is a list where a turn of a dialog ends
    with a token of its own."""
    named, turn = ids(header), header.metadata.get(_END_OF_TURN)
    if turn is not None and turn != named.get('eos_token_id', turn):
        named['eos_token_id'] = [named['eos_token_id'], turn]
    return named
