"""The floating-point operations of a workload, counted from the model.

A multiplication and an addition are two. Counted are the products of kernels and of
attention that the mathematics asks for: what a program computes again (`--remat`), and
masked halves of attention, are left out, and so are the adapters' own products, which
are less than 1 % from a width of 2,048 on at rank 8. Without `--scan`, the last layer
computes only the slots that are read, and only these count.

The gradient with respect to activations costs as much as the pass forward, that with
respect to kernels as much again: for each parameter of a kernel and each token, scoring
takes 2 operations, a LoRA step 4, a step of full tuning 6.
"""

import argparse
import dataclasses
import math

from perl.models.architecture import Architecture, parameters
from perl.models.shared_rows import together
from perl.weights import flatten


@dataclasses.dataclass(frozen=True)
class Pass:
    """What one pass of a decoder reads and computes.

    Attributes:
        tokens: in all rows.
        seen: keys that a query attends to, summed over the queries.
        read: tokens whose final state is used.
        logits: tokens whose logits are computed.
    """

    tokens: float
    seen: float
    read: float
    logits: float = 0

    def flops(self, arch: Architecture) -> float:
        """Operations of the pass forward."""
        keys, rest = layer_parameters(arch)
        last = 1.0 if arch.scan else self.read / self.tokens
        layers = arch.layers - 1 + last
        kernels = 2 * self.tokens * (arch.layers * keys + layers * rest)
        attention = 4 * arch.heads * arch.head_width * self.seen * layers
        return kernels + attention + 2 * arch.width * arch.vocabulary * self.logits


def layer_parameters(arch: Architecture) -> tuple[int, int]:
    """Parameters of the kernels of one layer: those of keys and values, and the rest,
    which are queries, the output of attention and the MLP."""
    leaves = flatten(parameters(arch)['layers']).items()
    sizes = {path: math.prod(x.shape[1:]) for path, x in leaves if x.inputs}
    keys = sizes['attention/k'] + sizes['attention/v']
    return keys, sum(sizes.values()) - keys


def of(args: argparse.Namespace, arch: Architecture) -> float:
    """Operations of one step, pass, iteration or call of the workload."""
    factor = 3 if args.tuning == 'full' else 2
    if args.workload == 'reward':
        return factor * completions(args, 2, read=1).flops(arch)
    if args.workload == 'score':
        return completions(args, args.samples, read=1).flops(arch)
    if args.workload == 'dpo':  # the policy learns, the reference is scored
        rest = args.seq - (args.shared or 1)
        scored = completions(args, 2, read=rest, logits=rest)
        return (factor + 1) * scored.flops(arch)
    if args.workload == 'generate':
        return sampled(args, args.prompts or args.batch // args.samples, args.new, arch)
    return iteration(args, arch, factor)


def completions(
    args: argparse.Namespace, count: int, read: int, logits: int = 0
) -> Pass:
    """`--pairs` prompts with `count` completions each, behind one copy of the prompt
    where `--shared` says so.

    Args:
        args: the flags.
        count: completions of a prompt.
        read: tokens of a completion whose state is used.
        logits: tokens of a completion whose logits are computed.
    """
    prompt = args.shared or 1
    shared = count > 1 and args.shared and not args.apart
    rows = packed(prompt, args.seq - prompt, count if shared else 1)
    times = args.pairs * (1 if shared else count)
    read, logits = (x * args.pairs * count for x in (read, logits))
    return Pass(rows.tokens * times, rows.seen * times, read, logits)


def packed(prompt: int, rest: int, count: int) -> Pass:
    """One row: a prompt and `count` completions that do not see each other."""
    own = prompt * rest + rest * (rest + 1) / 2
    tokens = prompt + count * rest
    return Pass(tokens, prompt * (prompt + 1) / 2 + count * own, tokens)


def sampled(
    args: argparse.Namespace, prompts: int, new: int, arch: Architecture
) -> float:
    """Sampling of `--samples` responses of `new` tokens to each of the prompts."""
    rows, P = prompts * args.samples, args.prompt
    prompt = packed(P, 0, 1)
    read = Pass(prompts * P, prompts * prompt.seen, prompts, prompts)
    if new == 1:  # the first token comes from the prompt
        return read.flops(arch)
    steps = rows * (new - 1)
    seen = steps * (P + new / 2)
    return read.flops(arch) + Pass(steps, seen, steps, steps).flops(arch)


def iteration(args: argparse.Namespace, arch: Architecture, factor: int) -> float:
    """Rollout, scores of all roles, and the epochs of updates."""
    B, R, S = args.batch, args.response, args.samples
    joined = together(arch.width, S, args.prompt, R)
    rows = packed(args.prompt, R, joined)
    times, critic = B / joined, S == 1
    size = rows.tokens * times, rows.seen * times
    tokens = Pass(*size, B * R, B * R).flops(arch)  # log-probs
    values = Pass(*size, B * R).flops(arch) if critic else 0
    ends = Pass(*size, B).flops(arch)  # rewards
    # in half precision the policy scores its own tokens again
    log_probs = tokens * (1 if arch.exact else 2)
    scores = log_probs + values + ends
    updates = args.epochs * factor * (tokens + values)
    return sampled(args, B // S, R, arch) + scores + updates
