"""A trained reward model as a Hugging Face folder, verified: merged, and beside it the adapter and the head alone.

reward_model/
  model.safetensors ...    AutoModelForSequenceClassification, one label: what `rl_core.models.reward_model` reads
  adapter/                 adapter_model.safetensors and adapter_config.json as peft reads them, of the model that
                           the first stage starts with; score.safetensors: `score.weight` [1, H]
  scores.json              mean and standard deviation of its scores on the held-out pairs
  verification.json        what was compared before anything could use it
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from rl_core.checkpoint.convert import ADAPTER_FOLDER, NOT_COPIED
from rl_core.checkpoint.export import export_weights
from rl_core.checkpoint.merge import MergedModel
from rl_core.checkpoint.probe import read_probe
from rl_core.checkpoint.tensors import StoredModel, TensorSource, read_tensors, stored_tensors
from rl_core.checkpoint.verify import MAX_LOGIT_DIFFERENCE, verify_tensors
from rl_core.config import RewardModelConfig
from rl_core.config.models import LoraConfig
from rl_core.errors import GuardStop
from rl_core.manifest import publishing, read_json, write_json
from rl_core.models.adapter_settings import HEAD, HEAD_FILE
from rl_core.models.load import DTYPES
from rl_core.models.lora import write_adapter
from rl_core.models.reward_source import SCORES
from rl_core.models.token_values import without_report
from rl_core.preference.checkpoint import MODEL
from rl_core.run_dir import RunDir

OF_A_POLICY = ("generation_config.json", "README.md", "verification.json", "source.json")
SMALLEST = 1e-3  # largest score below which differences count as shares of this
CARD = """---
library_name: transformers
pipeline_tag: text-classification
---

# {name}, reward model

A scalar head on `{base}`, trained on {pairs} preference pairs by the recipe `{name}` (configuration digest {digest}).
The score of a conversation is read at its last token; only differences between answers to one prompt mean anything. On
{held_out} held-out pairs the better answer has the higher score in {accuracy:.1%}. `manifest.json` holds the digests of
all files, `verification.json` what was compared.
"""


def export_reward_model(run: RunDir, config: RewardModelConfig, summary: dict[str, Any]) -> None:
    """Fill `run.reward_model` from the last checkpoint of the training.

    Args:
        summary: of that training.

    Raises:
        GuardStop: what was written is not the model that was trained; nothing is published.
    """
    model = run.reward_model_training.root / summary["checkpoint"] / MODEL
    dtype, max_shard_bytes = DTYPES[run.config.checkpoint.export_dtype], run.config.checkpoint.max_shard_bytes
    base = run.first_policy(0)
    with publishing(run.reward_model, key=run.keys.reward_model()) as folder:
        _describe(base, folder, dtype, model)
        source = _source(base, model / "weights", config.lora, _shapes(folder))
        export_weights(source, folder, dtype=dtype, max_shard_bytes=max_shard_bytes)
        verified = {"tensors_equal": verify_tensors(source, folder, dtype), **_verify(folder, model, dtype)}
        if isinstance(source, _MergedWithHead):
            verified |= _export_adapter(source, folder, base, model, dtype)
        write_json(folder / SCORES, summary["scores"])
        write_json(folder / "verification.json", verified)
        (folder / "README.md").write_text(_card(run, summary), encoding="utf-8")
    print(f"reward model: converted: {verified}", flush=True)


class _MergedWithHead:
    """The transformer with its adapter merged into it, and the head; see `TensorSource`."""

    def __init__(self, base: Path, weights: Path, lora: LoraConfig, names: Sequence[str]) -> None:
        ((_, self.head),) = read_tensors(weights, [HEAD])
        self.lora = lora
        self.merged = MergedModel(base, weights, lora, [name for name in names if name != HEAD])
        self.shapes = {**self.merged.shapes, HEAD: self.head.shape}

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """One after another."""
        for name in names:
            yield from [(HEAD, self.head)] if name == HEAD else self.merged.read([name])


def _source(base: Path, weights: Path, lora: LoraConfig | None, shapes: dict[str, torch.Size]) -> TensorSource:
    if lora is None:
        stored = stored_tensors(weights)
        assert set(stored) == set(shapes), "all of the weights are trained, and so all are stored"
        return StoredModel(weights, {name: name for name in shapes})
    return _MergedWithHead(base, weights, lora, list(shapes))


def _describe(base: Path, folder: Path, dtype: torch.dtype, model: Path) -> None:
    """Configuration and tokenizer: those of the model below, as a classifier of one label."""
    for file in sorted(base.iterdir()):
        if file.is_file() and not any(file.match(pattern) for pattern in (*NOT_COPIED, *OF_A_POLICY)):
            shutil.copyfile(file, folder / file.name)
    config = AutoConfig.from_pretrained(base, num_labels=1)
    with torch.device("meta"):
        config.architectures = [type(AutoModelForSequenceClassification.from_config(config)).__name__]
    config.get_text_config().pad_token_id = _padding(base, model)
    config.dtype = dtype
    config.save_pretrained(folder)


def _padding(base: Path, model: Path) -> int | None:
    """The token that pads. None where conversations end with it: transformers would take the one before for the last.

    Without one, conversations are asked one at a time.
    """
    padding: int | None = AutoTokenizer.from_pretrained(base).pad_token_id
    probe = read_probe(model)
    assert probe is not None, "every checkpoint of a reward model has one"
    return None if any(sequence[-1] == padding for sequence in probe[0]) else padding


def _shapes(folder: Path) -> dict[str, torch.Size]:
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(folder))
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def _export_adapter(
    source: _MergedWithHead, folder: Path, base: Path, model: Path, dtype: torch.dtype
) -> dict[str, Any]:
    """Write adapter and head beside the merged model, and compare them, on the model below, with the trainer."""
    adapter = folder / ADAPTER_FOLDER
    adapter.mkdir()
    write_adapter(adapter, source.merged.adapter, source.lora)
    save_file({HEAD: source.head.contiguous()}, adapter / HEAD_FILE)
    return {
        "adapter_layers_changed": source.merged.require_kept(folder, dtype),
        "adapter": _verify(base, model, dtype, adapter=adapter),
    }


def _verify(folder: Path, model: Path, dtype: torch.dtype, *, adapter: Path | None = None) -> dict[str, Any]:
    """Load a folder by its path alone and compare its scores with those that the trainer recorded.

    Args:
        adapter: folder of an adapter and a head that are put on the model first.

    Raises:
        GuardStop: a score is not finite, or differs by more than the exported precision explains.
    """
    with without_report():  # of the head that the model below an adapter does not have
        classifier = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, num_labels=1)
    classifier.eval()
    if adapter is not None:
        classifier.base_model.load_adapter(str(adapter))
        classifier.score.load_state_dict({"weight": load_file(adapter / HEAD_FILE)[HEAD].float()})
    probe = read_probe(model)
    assert probe is not None, "every checkpoint of a reward model has one"
    sequences, expected = probe
    with torch.inference_mode():
        scores = torch.stack(
            [classifier(input_ids=torch.tensor([ids]), use_cache=False).logits[0] for ids in sequences]
        )
    difference = score_difference(scores, expected)
    if not difference <= MAX_LOGIT_DIFFERENCE[dtype]:
        raise GuardStop(
            f"the exported reward model's scores differ from the trainer's by {difference:.2g} of the largest, more "
            f"than {MAX_LOGIT_DIFFERENCE[dtype]:.0e}: {folder} is not published"
        )
    return {"scores_max_difference": difference, "scores_allowed_difference": MAX_LOGIT_DIFFERENCE[dtype]}


def score_difference(scores: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference between scores, as a share of the largest expected one, which counts SMALLEST at least.

    Scores of a head that hardly moved from zero are small, and so must their differences be.
    """
    return float((scores - expected).abs().max() / expected.abs().max().clamp(min=SMALLEST))


def _card(run: RunDir, summary: dict[str, Any]) -> str:
    held_out = summary["held_out"]["accuracy"]
    base = read_json(run.first_policy(0) / "config.json") or {}
    return CARD.format(
        name=run.config.name,
        base=f"{run.config.policy.model_name} ({base.get('model_type', 'unknown')})",
        pairs=summary["pairs"]["train"]["pairs"],
        digest=run.keys.recipe(),
        held_out=held_out["num_pairs"],
        accuracy=held_out["value"],
    )
