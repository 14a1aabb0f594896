"""Which tokens of a batch are predicted, and by which slots.

A step reads the states of these slots alone, so it needs neither the last layer nor the
logits of prompts and padding. Rows of tokens `[..., T]` have S of them, int32
`[..., S]`:

    targets   the tokens that are predicted
    sources   the slots whose states predict them
    owners    the completion of its row that a token is of, from 1; 0 where nothing is
              predicted
"""

import jax
import jax.numpy as jnp
import numpy as np

from perl.data.batching import Batch

# what is kept of a batch
KEPT = ('tokens', 'positions', 'segments', 'ends')
NAMES = ('targets', 'sources', 'owners')


def predictions(batch: Batch, longest: int) -> Batch:
    """The rows `[..., T]` of a batch with what they predict, `[..., S]`.

    Args:
        batch: of `batching.collate`, with any leading axes.
        longest: tokens of the longest completion of all examples; S follows from it, so
            batches of one shape have one S.
    """
    counted, completions = batch['completion'], batch['ends'].shape[-1]
    most = min(counted.shape[-1], completions * longest)
    slots = np.argsort(~counted, axis=-1, kind='stable')[..., :most]
    # where prompts are not shared, all of a row is in segment 0
    owners = np.where(counted, np.maximum(batch['segments'], 1), 0)
    arrays = {'targets': batch['tokens'], 'sources': batch['sources'], 'owners': owners}
    chosen = {name: np.take_along_axis(x, slots, -1) for name, x in arrays.items()}
    return {name: batch[name] for name in KEPT} | chosen


def on_paper(shape: tuple[int, ...], predicted: int, outputs: int = 1) -> Batch:
    """The shapes and dtypes of what `predictions` makes, without arrays.

    Args:
        shape: of the tokens, `[..., T]`.
        predicted: S.
        outputs: completions in a row.
    """
    shapes = dict.fromkeys(KEPT, shape) | {'ends': (*shape[:-1], outputs)}
    shapes |= dict.fromkeys(NAMES, (*shape[:-1], predicted))
    return {name: jax.ShapeDtypeStruct(x, jnp.int32) for name, x in shapes.items()}
