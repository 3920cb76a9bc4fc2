"""Proof that a converted model is the trained one, before anything may use it.

Names, shapes and values of every tensor against the checkpoint; then the folder is loaded as any user would load it,
by its path alone, and its logits are compared with those that the trainer recorded; then the tokenizer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl_core.checkpoint.export import files_of_tensors
from rl_core.checkpoint.probe import last_logits, read_probe
from rl_core.checkpoint.tensors import TensorSource
from rl_core.errors import GuardStop

# Largest difference allowed between the trainer's logits and the exported model's, as a share of the trainer's largest
# logit: float32 leaves rounding of another kernel's order, bfloat16 keeps 8 bits of each weight.
MAX_LOGIT_DIFFERENCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}


def verify_tensors(source: TensorSource, folder: Path, dtype: torch.dtype) -> int:
    """Compare every exported tensor, bit for bit, with the source's in `dtype`; returns how many.

    Raises:
        GuardStop: a tensor is missing, or differs in shape or value.
    """
    exported = files_of_tensors(folder)
    if set(exported) != set(source.shapes):
        raise GuardStop(
            f"exported tensors differ from the checkpoint's: {sorted(set(exported) ^ set(source.shapes))[:3]}"
        )
    for name, tensor in source.read(list(source.shapes)):
        with safe_open(exported[name], framework="pt") as tensors:
            if not torch.equal(tensors.get_tensor(name), tensor.to(dtype) if tensor.is_floating_point() else tensor):
                raise GuardStop(f"exported {name} is not the checkpoint's")
    return len(exported)


def verify_logits(folder: Path, policy: Path, dtype: torch.dtype, *, adapter: Path | None = None) -> dict[str, Any]:
    """Load the exported folder by its path alone and compare its logits with the trainer's.

    Args:
        adapter: folder of an adapter that is put on the model first.
        policy: the checkpoint's `policy` folder, where the trainer may have left its logits.

    Returns:
        What was compared, for the manifest. A checkpoint of another trainer has no logits: then only that it loads.

    Raises:
        GuardStop: a logit is not finite, or differs by more than MAX_LOGIT_DIFFERENCE.
    """
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if adapter is not None:
        model.load_adapter(str(adapter))
    probe = read_probe(policy)
    if probe is None:
        return {"logits": "not compared: the checkpoint holds none of the trainer's"}
    prompts, expected = probe
    logits = last_logits(model, prompts, torch.device("cpu"))
    difference = float((logits - expected).abs().max() / expected.abs().max())
    if not difference <= MAX_LOGIT_DIFFERENCE[dtype]:
        raise GuardStop(
            f"the converted model's logits differ from the trainer's by {difference:.2g} of the largest, more than "
            f"{MAX_LOGIT_DIFFERENCE[dtype]:.0e}: {folder} is not published"
        )
    return {"logits_max_difference": difference, "logits_allowed_difference": MAX_LOGIT_DIFFERENCE[dtype]}


def verify_tokenizer(folder: Path, texts: Sequence[str]) -> int:
    """Check that the exported tokenizer gives back every text; returns how many.

    Raises:
        GuardStop: one does not come back: AutoTokenizer has built another tokenizer than the one that was saved.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in texts:
        if tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) != text:
            raise GuardStop(f"the exported tokenizer does not give back {text[:80]!r}")
    return len(texts)
