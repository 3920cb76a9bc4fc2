"""What a reward function is given."""

from dataclasses import dataclass

from rl_core.rewards.answers import THOUGHT_OPENS
from rl_core.types import Message


@dataclass(frozen=True, slots=True)
class Sample:
    """One response and what is known of it."""

    response: str  # what the model wrote, without the prompt
    gold: str  # the right answer
    truncated: bool  # cut off by the limit on tokens
    num_tokens: int | None = None  # of the response; None where nobody counted
    max_tokens: int | None = None  # that it was allowed
    thought_open: bool = False  # the prompt ends inside a thought that its template opened
    messages: tuple[Message, ...] = ()  # of the prompt; none where nobody gave them

    @property
    def graded(self) -> str:
        """The response as answers are looked for in it.

        Where the template opened the thought and the limit cut the response off, the opening tag is put back, so that
        a thought that never closed is seen as one. A response that the model ended itself is taken as it stands: a
        model that never writes the tags would otherwise earn nothing under such a template.
        """
        return THOUGHT_OPENS + self.response if self.thought_open and self.truncated else self.response
