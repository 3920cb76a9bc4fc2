"""DCP to Hugging Face format: safetensors, configuration, generation configuration, tokenizer, model card. Verified."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rl_core.checkpoint.export import export_weights
from rl_core.checkpoint.layouts import names_in_checkpoint
from rl_core.checkpoint.merge import MergedModel
from rl_core.checkpoint.tensors import StoredModel, TensorSource, stored_tensors
from rl_core.checkpoint.verify import verify_logits, verify_tensors, verify_tokenizer
from rl_core.config import SFT, RecipeConfig, StageIndex
from rl_core.config.models import LoraConfig, PolicyConfig
from rl_core.data.parquet import load_problems
from rl_core.errors import MistakeError
from rl_core.evaluation.prompts import RECORD, prompt_record
from rl_core.manifest import publishing, read_json, read_manifest, write_json
from rl_core.models.load import DTYPES
from rl_core.models.lora import A, write_adapter
from rl_core.models.settings import override_settings
from rl_core.models.source import find_model
from rl_core.part_keys import finished_part
from rl_core.run_dir import RunDir
from rl_core.training.summary import read_summary, update_summary

NOT_COPIED = ("*.safetensors", "*.bin", "*.pt", "*.index.json", "manifest.json")  # weights, and what describes them
ADAPTER_FOLDER = "adapter"
CARD = """---
library_name: transformers
pipeline_tag: text-generation
---

# {name}, stage {stage}

Policy after step {step} of stage {stage} of the recipe `{name}` (configuration digest {digest}), converted from a
torch.distributed.checkpoint. Trained from `{model}` {how}; {limited} were limited to
{limit} tokens. `manifest.json` holds the digests of all files and what was verified.
"""


def convert_stage(run: RunDir, index: StageIndex) -> None:
    """Convert the last checkpoint of stage `index`; return at once when it is done.

    Raises:
        MistakeError: the stage is not trained yet.
        GuardStop: the converted model is not the trained one; nothing is published.
    """
    stage, name = run.stage(index), run.stage_name(index)
    summary = read_summary(run, index)
    if summary is None:
        command = SFT if index == SFT else f"train --stage {index}"
        raise MistakeError(f"stage {name} is not trained yet: run `python -m rl_core {command}` first")
    manifest = finished_part(stage.hf, run.keys.hf(index))
    if manifest is None:
        verified = _publish(run, index, stage.root / summary["checkpoint"], stage.hf)
        manifest = finished_part(stage.hf, run.keys.hf(index))
        print(f"converted {name}: {verified}")
    else:
        print(f"stage {name}: already converted")
    assert manifest is not None, "publishing leaves a complete folder"
    update_summary(run, index, hf=stage.hf.name, model_digest=manifest["digest"])


def convert_checkpoint(run: RunDir, index: StageIndex, step: int, target: Path) -> None:
    """Convert a checkpoint that stage `index` saved on the way, into a folder of its own; at once when it is there.

    The files are those that `convert_stage` would make of it, so that they have the digest of a model of the run.

    Raises:
        MistakeError: there is no such checkpoint, or `target` holds another model.
        GuardStop: the converted model is not the trained one; nothing is published.
    """
    checkpoint = run.stage(index).checkpoint(step)
    if read_manifest(checkpoint) is None:
        raise MistakeError(f"--step {step}: {checkpoint} is no whole checkpoint; it may have been removed meanwhile")
    if finished_part(target, run.keys.hf(index)) is None:
        verified = _publish(run, index, checkpoint, target)
        print(f"converted {run.stage_name(index)} step {step}: {verified}")
    else:
        print(f"{target}: already converted")


def _publish(run: RunDir, index: StageIndex, checkpoint: Path, target: Path) -> dict[str, Any]:
    """Convert a checkpoint of a stage into a folder of the run; what was verified."""
    with publishing(target, key=run.keys.hf(index), **{RECORD: prompt_record(run.config.data)}) as folder:
        verified = _convert_policy(run, index, checkpoint / "policy", folder)
        verified["tokenizer_texts"] = verify_tokenizer(folder, _texts(run))
        write_json(folder / "verification.json", verified)
        step = int(checkpoint.name.removeprefix("step_"))
        (folder / "README.md").write_text(_card(run, index, step), encoding="utf-8")
    return verified


def _convert_policy(run: RunDir, index: StageIndex, policy: Path, folder: Path) -> dict[str, Any]:
    """Convert a checkpoint's `policy` folder: a model, or an adapter of the one that the stage began with."""
    options, lora = run.config.checkpoint, run.lora(index)
    dtype, max_shard_bytes = DTYPES[options.export_dtype], options.max_shard_bytes
    weights = policy / "weights"
    if lora is None:
        return convert(weights, folder, model_files=policy, dtype=dtype, max_shard_bytes=max_shard_bytes)
    return convert_adapter(
        weights,
        folder,
        base=run.model_below(index),
        lora=lora,
        model_files=policy,
        dtype=dtype,
        max_shard_bytes=max_shard_bytes,
    )


def convert_folder(checkpoint: Path, target: Path, *, base_model: str | None, config: RecipeConfig) -> None:
    """Convert any DCP checkpoint of a causal language model, ours or another trainer's, into a new folder.

    Args:
        checkpoint: the DCP folder, or a checkpoint folder that holds it as `weights` or `policy/weights`.
        target: must not exist.
        base_model: folder, or name on the hub, with the model's configuration and tokenizer; None takes those that lie
            beside the weights, or else the recipe's `policy.model_name`.

    Raises:
        MistakeError: `checkpoint` is no DCP checkpoint, `target` exists, or the model is not found.
        GuardStop: the result is not the model in the checkpoint; nothing is published.
    """
    if target.exists():
        raise MistakeError(
            f"--hf-ckpt-path {target}: exists already, and is not overwritten: remove it or name another"
        )
    weights = _find_weights(checkpoint)
    beside = weights.parent
    with tempfile.TemporaryDirectory() as fetched:
        if base_model is None and (beside / "config.json").is_file():
            model_files = beside
        else:
            model_files = Path(fetched)
            _describe_model(config.policy, base_model, model_files)
        options = config.checkpoint
        with publishing(target, key="", source=str(checkpoint)) as folder:
            verified = convert(
                weights,
                folder,
                model_files=model_files,
                dtype=DTYPES[options.export_dtype],
                max_shard_bytes=options.max_shard_bytes,
            )
            write_json(folder / "verification.json", verified)
    print(f"converted to {target}: {verified}")


def _describe_model(policy: PolicyConfig, base_model: str | None, into: Path) -> None:
    """Configuration and tokenizer of the model that is named; revision and overrides are those of the recipe's own."""
    if base_model is not None and base_model != policy.model_name:
        policy = PolicyConfig(model_name=base_model)
    if policy.model_name == "embedded":
        raise MistakeError(
            "--base-model is needed: the checkpoint has no config.json beside it, nor names the recipe one"
        )
    find_model(policy, "policy.model_name" if base_model is None else "--base-model").take_description(into)
    override_settings(into, policy.hf_config_overrides)


def _find_weights(checkpoint: Path) -> Path:
    for folder in (checkpoint, checkpoint / "weights", checkpoint / "policy" / "weights", checkpoint / "model"):
        if (folder / ".metadata").is_file():
            return folder
    raise MistakeError(
        f"--dcp-ckpt-path {checkpoint}: no .metadata there, nor in weights/, policy/weights/ or model/ below it, so it "
        "is not a torch.distributed.checkpoint folder"
    )


def convert(
    weights: Path, folder: Path, *, model_files: Path, dtype: torch.dtype, max_shard_bytes: int
) -> dict[str, Any]:
    """Write into `folder` the model whose parameters are in the DCP folder `weights`, and verify it.

    Args:
        model_files: folder with the model's config.json and tokenizer, and the trainer's logits where there are any.

    Returns:
        What was verified, for the record.

    Raises:
        MistakeError: `weights` is no DCP folder, or not of this model.
        GuardStop: see `rl_core.checkpoint.verify`.
    """
    try:
        stored = stored_tensors(weights)
    except FileNotFoundError:
        raise MistakeError(
            f"{weights}: no .metadata there, so it is not a torch.distributed.checkpoint folder"
        ) from None
    if any(name.endswith(A) for name in stored):
        raise MistakeError(
            f"{weights} holds an adapter, without the model below it: convert it with its run, "
            "`python -m rl_core convert --stage N`"
        )
    shapes, tied = _model_shapes(model_files)
    names = names_in_checkpoint(set(stored), shapes, tied)
    names = {name: stored_name for name, stored_name in names.items() if name not in tied}
    for name, stored_name in names.items():
        if stored[stored_name].size != shapes[name]:
            raise MistakeError(
                f"{weights} holds {stored_name} of shape {list(stored[stored_name].size)}, but the model's has "
                f"{list(shapes[name])}: it is not a checkpoint of the model in {model_files}"
            )
    return _export(StoredModel(weights, names), folder, model_files, dtype, max_shard_bytes)


def convert_adapter(
    weights: Path,
    folder: Path,
    *,
    base: Path,
    lora: LoraConfig,
    model_files: Path,
    dtype: torch.dtype,
    max_shard_bytes: int,
) -> dict[str, Any]:
    """Write into `folder` the model in `base` with the adapter in the DCP folder `weights` merged into it, and into
    `folder`/adapter the adapter alone; verify both.

    Args:
        model_files: as for `convert`.

    Raises:
        MistakeError: the adapter is for another model.
        GuardStop: see `rl_core.checkpoint.verify` and `merge`.
    """
    shapes, tied = _model_shapes(model_files)
    source = MergedModel(base, weights, lora, [name for name in shapes if name not in tied])
    verified = _export(source, folder, model_files, dtype, max_shard_bytes)
    adapter = folder / ADAPTER_FOLDER
    adapter.mkdir()
    write_adapter(adapter, source.adapter, lora)
    return {
        **verified,
        "adapter_layers_changed": source.require_kept(folder, dtype),
        "adapter": verify_logits(base, model_files, dtype, adapter=adapter),
    }


def _export(
    source: TensorSource, folder: Path, model_files: Path, dtype: torch.dtype, max_shard_bytes: int
) -> dict[str, Any]:
    """Write and verify the model's tensors, and what describes the model."""
    for file in sorted(model_files.iterdir()):
        if file.is_file() and not any(file.match(pattern) for pattern in NOT_COPIED):
            shutil.copyfile(file, folder / file.name)
    _set_dtype(folder, dtype)
    export_weights(source, folder, dtype=dtype, max_shard_bytes=max_shard_bytes)
    tensors = verify_tensors(source, folder, dtype)
    return {"tensors_equal": tensors, **verify_logits(folder, model_files, dtype)}


def _model_shapes(model_files: Path) -> tuple[dict[str, torch.Size], set[str]]:
    """Shapes of the model's parameters by name, and which are tied to another; builds no weights."""
    config = AutoConfig.from_pretrained(model_files)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shapes = {name: parameter.shape for name, parameter in model.state_dict().items()}
    tied = set(model._tied_weights_keys or ()) if config.get_text_config().tie_word_embeddings else set()
    return shapes, tied & set(shapes)


def _set_dtype(folder: Path, dtype: torch.dtype) -> None:
    config = read_json(folder / "config.json")
    config.pop("torch_dtype", None)
    write_json(folder / "config.json", {**config, "dtype": str(dtype).removeprefix("torch.")})


def _texts(run: RunDir) -> list[str]:
    files = sorted(run.data.glob("*.parquet"))
    return [problem.problem for file in files for problem in load_problems(file)]


def _card(run: RunDir, index: StageIndex, step: int) -> str:
    config = run.config
    if index == SFT:
        assert config.sft is not None, "a stage of this name is there only with its section"
        how, limited, limit = "on given answers", "prompt and answer", config.sft.max_tokens
    else:
        rewards = ", ".join(reward.name for reward in config.rewards)
        how, limited, limit = f"with rewards {rewards}", "responses", config.stages[index].max_response_tokens
    return CARD.format(
        name=config.name,
        stage=run.stage_name(index),
        step=step,
        digest=run.keys.recipe(),
        model=config.policy.model_name,
        how=how,
        limited=limited,
        limit=limit,
    )
