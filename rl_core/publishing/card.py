"""The model card: what the model is, what it scores and under which protocol, from what it was made. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rl_core.config import RecipeConfig
from rl_core.part_keys import PartKeys
from rl_core.report.contamination import contamination
from rl_core.report.document import Block, Bullets, Code, Heading, Paragraph, Preformatted, Table
from rl_core.report.facts import RunFacts, StageFacts
from rl_core.report.markdown import to_markdown
from rl_core.report.provenance import protocol
from rl_core.report.results import further_benchmarks, results_table
from rl_core.report.wording import count

ALL_TEXT = frozenset(range(4))


def card(facts: RunFacts, stage: StageFacts, license_name: str) -> str:
    """The text of the card below its metadata.

    Args:
        stage: whose model is published.
    """
    publish = facts.config.publish
    assert publish is not None, "asked only where the recipe publishes"
    shown = _up_to(facts, stage)
    blocks: list[Block] = [
        Heading(1, publish.repo.partition("/")[2]),
        Paragraph(_what_it_is(facts.config, stage)),
        Heading(2, "Results"),
        *results_table(shown),
        *further_benchmarks(shown),
        *contamination(shown),
        *protocol(shown),
        Heading(2, "Use"),
        *_use(facts.config),
        Heading(2, "Training"),
        *_training(shown, stage),
        Heading(2, "Licence"),
        Paragraph([Code(license_name), _whose(facts.config)]),
    ]
    return to_markdown(blocks)


def _up_to(facts: RunFacts, stage: StageFacts) -> RunFacts:
    """The run without what came after the published model, and without its texts."""
    return replace(facts, stages=facts.stages[: stage.index + 1], missing=(), links=(), work=())


def _what_it_is(config: RecipeConfig, stage: StageFacts) -> list[str]:
    policy = config.policy
    how = [f"An adapter of rank {policy.lora.rank} on "] if policy.lora else []
    if policy.model_name == "embedded":
        base: list[str] = [f"{'a' if how else 'A'} small model that the recipe made itself"]
    else:
        base = [Code(policy.model_name), " at revision ", Code(policy.revision)]
    return [
        *how,
        *base,
        ", fine-tuned on worked answers and" if config.sft else ",",
        " trained by reinforcement learning on mathematical problems: the model after step "
        f"{stage.steps_done} of stage {stage.name}, {stage.index + 1} of {len(config.stages)}, of the recipe ",
        Code(config.name),
        " of deepscaler-recipe.",
    ]


def _use(config: RecipeConfig) -> list[Block]:
    publish = config.publish
    assert publish is not None, "asked only where the recipe publishes"
    arguments = f'"{publish.repo}"' + (f', revision="{publish.revision}"' if publish.revision != "main" else "")
    code = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({arguments})\n"
        f"model = AutoModelForCausalLM.from_pretrained({arguments})"
    )
    blocks: list[Block] = [
        Paragraph(["It was trained on prompts of this form, with the chat template of its tokenizer:"]),
        Preformatted(config.data.prompt_template),
        Preformatted(code),
    ]
    return [*blocks, *_adapter(config)]


def _adapter(config: RecipeConfig) -> list[Block]:
    """What the folder `adapter` is; nothing where all weights are trained."""
    if config.policy.lora is None:
        return []
    before = config.publish.stage if config.publish else None
    names = [stage.name for stage in config.stages]
    index = len(names) - 1 if before is None else names.index(before)
    start = "the base model"
    if config.policy.lora.start == "merged" and (index or config.sft):
        below = f"the model after stage {names[index - 1]}" if index else "the fine-tuned model"
        start = f"{below}, which is not published here"
    return [
        Paragraph(
            [
                "The weights have the adapter merged into them. ",
                Code("adapter/"),
                f" holds it alone, on top of {start}.",
            ]
        )
    ]


def _training(facts: RunFacts, stage: StageFacts) -> list[Block]:
    config = facts.config
    rows: Sequence[Sequence[str]] = [
        [
            one.name,
            count(one.steps_done),
            count(one.limit_tokens),
            _algorithm(config, one.index),
        ]
        for one in facts.stages
    ]
    data = (facts.sources or facts.data or {}).get("sources", {}).get("train", {})
    return [
        Table(["stage", "steps", "limit, tokens", "algorithm"], rows, frozenset({0, 3})),
        Bullets(
            [
                ["data: ", *_origin(data)],
                [f"rewards: {', '.join(reward.name for reward in config.rewards)}"],
                ["configuration: digest ", Code(_digest(facts)), "; model: digest ", Code(_model_digest(stage))],
            ]
        ),
    ]


def _algorithm(config: RecipeConfig, index: int) -> str:
    stage = config.stages[index]
    return (
        f"{stage.algorithm.objective}, baseline {stage.algorithm.baseline}, {stage.rollout.num_prompts} problems x "
        f"{stage.rollout.num_samples} responses, rate {stage.optimizer.learning_rate:g}"
    )


def _origin(data: Mapping[str, Any]) -> list[str]:
    if data.get("repo_id"):
        return [Code(str(data["repo_id"])), " at commit ", Code(str(data.get("commit", "?")))]
    return ["a file of the author's" if data.get("source") == "path" else "problems that the recipe made itself"]


def _digest(facts: RunFacts) -> str:
    return PartKeys(facts.config).recipe()


def _model_digest(stage: StageFacts) -> str:
    return str((stage.model or {}).get("digest", "?"))


def _whose(config: RecipeConfig) -> str:
    if config.publish is not None and config.publish.license is not None:
        return ", as given by who published the model."
    if config.policy.model_name == "embedded":
        return ", that of the project that made the base model."
    return f", that of {config.policy.model_name}, from which the model was trained."
