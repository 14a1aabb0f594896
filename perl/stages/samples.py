"""Shows what a policy says while it is trained: a few responses in `samples.jsonl`."""

import jax

from perl.data.chat import stops
from perl.evaluation.responses import respond
from perl.rollout.sampler import Sampling
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system import metrics

PROMPTS = 4


def write(run: Run, stage: str, prompts: list[str], role: Role, step: int) -> None:
    """Appends responses to the first `PROMPTS` prompts, with the step they are of.

    They are a function of the seed, the stage and the step, so that a run that was
    stopped writes the same.

    Args:
        run: what all stages share.
        stage: its name.
        prompts: held-out ones.
        role: the policy after `step`.
        step: counted from 1.
    """
    prompts = prompts[:PROMPTS]
    if not prompts:
        return
    sampling = Sampling(
        run.config.lengths.response,
        stops(run.tokenizer),
        run.config.evaluation.temperature,
    )
    key = jax.random.fold_in(run.key(f'{stage}/samples'), step)
    texts = respond(run, role.bound(), prompts, sampling, key)
    metrics.append_samples(
        run.workdir / stage,
        [
            {'step': step, 'prompt': prompt, 'response': text}
            for prompt, text in zip(prompts, texts, strict=True)
        ],
    )
