"""What a model card says, as the hub's own client reads it."""

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from rl_core.manifest import read_json, write_json
from rl_core.publishing.publish import files_to_publish
from tests.rl_core.report import synthetic_run

REPO = "publish.repo=someone/model"
FROM_A_HUB = (
    "embedded=null",
    "policy.model_name=owner/base",
    "policy.revision=c0ffee",
    "data.train={source: hub, repo_id: someone/problems, file: train.json}",
    "data.test={source: hub, repo_id: HuggingFaceH4/aime_2024, file: test.json}",
    "publish.license=mit",
)


def card_of(root: Path, *overrides: str) -> ModelCard:
    run = synthetic_run.write_run(synthetic_run.new_run(root, REPO, *overrides))
    content = files_to_publish(run)["README.md"]
    assert isinstance(content, bytes)
    return ModelCard(content.decode())


def test_the_hub_reads_licence_base_model_data_and_tags(tmp_path: Path) -> None:
    data = card_of(tmp_path / "run", *FROM_A_HUB).data
    assert (data.license, data.base_model, data.base_model_relation) == ("mit", "owner/base", "finetune")
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-generation")
    assert data.datasets == ["someone/problems"]
    assert {"reinforcement-learning", "grpo"} <= set(data.tags)


def test_the_hub_reads_the_results_of_every_benchmark(tmp_path: Path) -> None:
    run = synthetic_run.write_run(synthetic_run.new_run(tmp_path / "run", REPO, *FROM_A_HUB))
    results = run.evaluation(read_json(run.stage(2).hf / "manifest.json")["digest"])
    write_json(results.with_name("math500-abc.json"), {**read_json(results), "benchmark": "math500"})
    content = files_to_publish(run)["README.md"]
    assert isinstance(content, bytes)
    found = {
        (one.dataset_type, one.metric_type): one.metric_value for one in ModelCard(content.decode()).data.eval_results
    }
    assert found == {
        ("HuggingFaceH4/aime_2024", "pass@1"): 81.25,
        ("HuggingFaceH4/aime_2024", "pass@4"): 82.25,
        ("HuggingFaceH4/aime_2024", "majority@4"): 82.25,
        ("HuggingFaceH4/MATH-500", "pass@1"): 81.25,
        ("HuggingFaceH4/MATH-500", "pass@4"): 82.25,
        ("HuggingFaceH4/MATH-500", "majority@4"): 82.25,
    }


def test_the_text_has_results_with_intervals_protocol_data_and_licence(tmp_path: Path) -> None:
    text = card_of(tmp_path / "run", *FROM_A_HUB).text
    assert "`owner/base` at revision `c0ffee`, trained by reinforcement learning" in text
    assert "0.812 (0.650 to 0.950)" in text
    assert "## Protocol and seeds" in text
    assert "- data: `someone/problems` at commit `c0ffee`" in text
    assert "`mit`, as given by who published the model." in text


@pytest.mark.parametrize(
    ("stage", "told"),
    [("8k", "alone, on top of the base model."), ("24k", "alone, on top of the model after stage 16k, which is not")],
)
def test_of_an_adapter_it_is_said_what_it_stands_on(stage: str, told: str, tmp_path: Path) -> None:
    card = card_of(tmp_path / "run", *FROM_A_HUB, "policy.lora={rank: 8}", f"publish.stage={stage}")
    assert told in card.text
    assert "An adapter of rank 8 on `owner/base`" in card.text
    assert "lora" in card.data.tags


def test_an_adapter_that_every_stage_goes_on_with_stands_on_the_base(tmp_path: Path) -> None:
    lora = "policy.lora={rank: 8, start: adapter}"
    assert "alone, on top of the base model." in card_of(tmp_path / "run", *FROM_A_HUB, lora, "publish.stage=24k").text


def test_what_was_fine_tuned_first_is_said_with_its_data(tmp_path: Path) -> None:
    sft = "sft={data: {source: hub, repo_id: someone/traces, files: [a.parquet]}, lora: null}"
    card = card_of(tmp_path / "run", *FROM_A_HUB, sft, "policy.lora={rank: 8}", "publish.stage=8k")
    assert "`c0ffee`, fine-tuned on worked answers and trained by reinforcement learning" in card.text
    assert "alone, on top of the fine-tuned model, which is not published here." in card.text
    assert card.data.datasets == ["someone/problems", "someone/traces"]


def test_a_model_whose_base_has_no_name_elsewhere_names_none(tmp_path: Path) -> None:
    card = card_of(tmp_path / "run")
    assert (card.data.license, card.data.base_model) == ("apache-2.0", None)
    assert "adapter" not in card.text
