"""QLoRA: LoRA over a base in four bits."""

import dataclasses
from typing import ClassVar

from perl.adapters.targets import ALL_LINEAR
from perl.adapters.tunings.lora import LoraTuning


@dataclasses.dataclass(frozen=True)
class QLora(LoraTuning):
    """LoRA on every kernel of the layers, over a base in NF4 (arXiv 2305.14314)."""

    targets: tuple[str, ...] = ALL_LINEAR
    name: str = 'qlora'
    quantization: ClassVar[str] = 'nf4'
