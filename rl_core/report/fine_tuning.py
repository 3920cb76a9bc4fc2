"""What fine-tuning did before the stages: on how many answers, in how many steps, to which loss."""

from rl_core.report.document import Block, Heading, Paragraph, Table
from rl_core.report.facts import RunFacts
from rl_core.report.wording import ABSENT, count, fraction

TOLD = (
    "Loss: mean negative log-likelihood of a token of given answers, on rows held out; the base model, and the "
    "fine-tuned one, which the first stage starts from."
)


def fine_tuning(facts: RunFacts) -> list[Block]:
    """One row for each thing to know; nothing where the recipe has none, or it has not begun."""
    tuned = facts.fine_tuning
    if tuned is None or not tuned.metrics:
        return []
    summary, last = tuned.summary or {}, tuned.metrics[-1]
    losses = [value for line in tuned.metrics if (value := line.get("validation_loss")) is not None]
    done = count(int(last["step"]))
    rows = [
        ["steps", done if summary else f"{done}, and not finished"],
        ["rows learned from", count(summary.get("rows"))],
        ["rows held out", count(summary.get("rows_held_out"))],
        ["rows too long, set aside", count(last.get("rows_set_aside"))],
        ["tokens learned from, with repetition", count(sum(line.get("trained_tokens", 0) for line in tuned.metrics))],
        ["held-out loss, before", fraction(losses[0]) if losses else ABSENT],
        ["held-out loss, after", fraction(losses[-1]) if len(losses) > 1 else ABSENT],
    ]
    return [Heading(3, "Fine-tuning"), Paragraph([TOLD]), Table(["", "sft"], rows)]
