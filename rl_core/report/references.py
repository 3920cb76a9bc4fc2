"""What others published for AIME24, to be drawn beside a run that is measured on it.

Source: table of the README of agentica-project/deepscaler, commit 95ef74f: pass@1 as the mean of 16 samples,
temperature 0.6, top-p 0.95, 32,768 tokens. Evaluated again by others, DeepScaleR's published weights give 41.0 to
41.4 % (rllm-org/rllm, issue 12); who repeated the training reports 34.0 % (NeMo RL, 16 samples at temperature 1) to
40.2 % (AReaL, 32 samples).
"""

from dataclasses import dataclass

from rl_core.report.facts import RunFacts

NAMES = ("aime24", "aime_2024", "aime2024")  # of the benchmark, or at the end of a repository's name
PROTOCOL = {"num_samples": 16, "temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32768}


@dataclass(frozen=True, slots=True)
class Reference:
    """A published pass@1, as a fraction."""

    model: str
    pass_at_1: float


REFERENCES = (
    Reference("DeepScaleR-1.5B", 0.431),
    Reference("o1-preview", 0.400),
    Reference("R1-Distill-1.5B", 0.288),
)
CAPTION = (
    " Dotted: what the authors of DeepScaleR publish for AIME24 (README of agentica-project/deepscaler: 16 samples, "
    "temperature 0.6, top-p 0.95, 32,768 tokens). Others got 41.0 to 41.4 % from the same weights, and 34.0 to 40.2 % "
    "from repeating the training."
)


def references(facts: RunFacts) -> tuple[Reference, ...]:
    """Those for the benchmark of a run: none where it is another than AIME24."""
    test = facts.config.data.test
    benchmark = facts.config.evaluation.benchmark
    name = (test.repo_id or "").rpartition("/")[2] if benchmark == "test" else benchmark
    return REFERENCES if name.lower() in NAMES else ()


def caption(facts: RunFacts) -> str:
    """What has to be said of the dotted lines; nothing where there are none."""
    if not references(facts):
        return ""
    protocol = facts.models[0].evaluation.protocol if facts.models else {}
    others = [f"{name} {protocol.get(name)}" for name, value in PROTOCOL.items() if protocol.get(name) != value]
    return f"{CAPTION} This run was measured otherwise: {', '.join(others)}." if others else CAPTION
