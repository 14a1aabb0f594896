"""The section `optimizer` of a stage."""

from typing import Any

from ml_collections import ConfigDict


def optimizer_config(learning_rate: float, **changes: Any) -> ConfigDict:
    """AdamW or Adafactor with a schedule."""
    return ConfigDict(
        {
            'name': 'adamw',  # adamw | adafactor
            'learning_rate': learning_rate,  # the largest value of the schedule
            'schedule': 'cosine',  # after the warmup: constant | linear | cosine
            'warmup': 10,  # updates in which the learning rate rises
            'final': 0.1,  # last update's share of learning_rate, if the warmup is over
            'b1': 0.9,  # decay of AdamW's mean of gradients
            'b2': 0.999,  # decay of AdamW's mean of squared gradients
            'eps': 1e-8,  # added to the denominator of AdamW
            # decoupled from the gradient; acts on kernels, embeddings and LoRA factors,
            # but not on norms, biases and scalar heads
            'weight_decay': 0.0,
            'clip': 1.0,  # largest global norm of the gradient; 0 clips nothing
            **changes,
        }
    )
