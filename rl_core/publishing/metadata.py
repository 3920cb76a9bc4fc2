"""The head of a model card, which the hub reads: licence, what the model was made from, tags, results. Pure.

Source of the fields: the hub's model card specification, and `huggingface_hub.ModelCardData`, which reads them back.
"""

from typing import Any

import yaml

from rl_core.config import DatasetConfig, RecipeConfig
from rl_core.config.sft import TracesConfig
from rl_core.evaluation.benchmarks import BENCHMARKS
from rl_core.report.facts import Evaluation, Model, RunFacts

TASK = {"type": "text-generation", "name": "Text generation"}


def metadata(facts: RunFacts, model: Model | None, license_name: str) -> str:
    """The YAML between the card's first two lines of dashes, those included.

    Args:
        model: what is published, with its evaluations; None where it has none.
    """
    config = facts.config
    values: dict[str, Any] = {
        "license": license_name,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": _tags(config),
    }
    if config.policy.model_name != "embedded" and config.policy.hub == "huggingface":
        values |= {"base_model": config.policy.model_name, "base_model_relation": "finetune"}
    sets: list[DatasetConfig | TracesConfig] = [config.data.train, *([config.sft.data] if config.sft else [])]
    data = [one.repo_id for one in sets if one.source == "hub" and one.repo_id]
    if data:
        values["datasets"] = data
    if model is not None and config.publish is not None:
        results = [_result(evaluation, config) for evaluation in (model.evaluation, *model.further)]
        values["model-index"] = [{"name": config.publish.repo.partition("/")[2], "results": results}]
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"


def _tags(config: RecipeConfig) -> list[str]:
    tags = ["deepscaler-recipe", "reinforcement-learning", "math", "deepspeed"]
    last = config.stages[-1].algorithm
    named = {"cpgd": "cpgd", "gspo": "gspo", "cispo": "cispo", "policy_gradient": "reinforce"}
    tags.append(named.get(last.objective, "ppo" if last.baseline == "critic" else "grpo"))
    return [*tags, *(["lora"] if config.policy.lora else [])]


def _result(evaluation: Evaluation, config: RecipeConfig) -> dict[str, Any]:
    """One entry of the model-index: pass@1 and the other figures of one benchmark, as percentages."""
    protocol = evaluation.protocol
    asked = f"n={protocol.get('num_samples')}, T={protocol.get('temperature')}, top-p={protocol.get('top_p')}"
    figures = [("pass@1", evaluation.pass_at_1.value)]
    for name, by_k in (("pass", evaluation.pass_at_k), ("majority", evaluation.majority_at_k)):
        figures += [(f"{name}@{k}", by_k[k].value) for k in sorted(by_k)[-1:] if k > 1]
    return {
        "task": TASK,
        "dataset": {"name": evaluation.benchmark, "type": _dataset_type(evaluation, config.data.test)},
        "metrics": [
            {"type": name, "name": f"{name} ({asked})", "value": round(100 * value, 2)} for name, value in figures
        ],
    }


def _dataset_type(evaluation: Evaluation, test: DatasetConfig) -> str:
    """The data set as the hub names it; the benchmark's own name where it is not from there."""
    if evaluation.benchmark in BENCHMARKS:
        return BENCHMARKS[evaluation.benchmark].repo_id
    return test.repo_id if evaluation.benchmark == "test" and test.repo_id else evaluation.benchmark


def evaluations_of(facts: RunFacts, name: str) -> tuple[Model | None, list[Model]]:
    """The evaluated model of that name, and those to show beside it: the base model before it."""
    found = next((model for model in facts.models if model.name == name), None)
    base = [model for model in facts.models if model.name == "base"]
    return found, [*base, *([found] if found else [])]
