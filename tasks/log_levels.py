"""How serious a line of a stage's output is, by how it begins: the stage is a process, and says it in words."""

import logging
import re

# Whose line it is, before the level: vLLM's worker, torch's rank, W&B, the time in DeepSpeed's lines.
SPEAKER = r"\s*(?:\([^)]*\)\s+|\[rank\d+\]:\s*|wandb:\s+|\[\d{4}-[^\]]*\]\s*)*\[?"
BEGINNINGS = {
    logging.CRITICAL: r"(?i:critical):|CRITICAL\b|C\d{4} ",
    logging.ERROR: r"(?i:error):|ERROR\b|E\d{4} |Traceback \(most recent call last\)",
    logging.WARNING: r"(?i:warning):|WARNING\b|W\d{4} |\S+\.py:\d+: \w*Warning: ",  # the last as Python's warnings
}
LEVELS = {level: re.compile(SPEAKER + f"(?:{beginning})") for level, beginning in BEGINNINGS.items()}


def level_of(line: str) -> int:
    """The level under which a line is logged; INFO where it does not say."""
    return next((level for level, beginning in LEVELS.items() if beginning.match(line)), logging.INFO)
