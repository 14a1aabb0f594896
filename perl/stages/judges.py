"""The reward models that judge a policy, as one panel."""

from perl.models import panel
from perl.models.panel import Panel
from perl.stages.run import Run


def judges(run: Run, name: str) -> Panel:
    """The panel of a reward stage, or of the adapter folder of one.

    Raises:
        UserError: there is none, or it is no reward model.
    """
    return panel.build([run.reward_role(name)])
