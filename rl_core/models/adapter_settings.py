"""What an adapter in a folder is, as peft writes it, without its weights: can this project use it, and for what.

    adapter_config.json           rank, alpha, target modules
    adapter_model.safetensors     base_model.model.<layer>.lora_A.weight and lora_B
    score.weight                  [1, H] of a reward model, in that file or in score.safetensors

No torch here; `adapter_files` reads the weights.
"""

from pathlib import Path
from typing import Any

from rl_core.config.models import LoraConfig
from rl_core.errors import MistakeError
from rl_core.manifest import read_json

CONFIG, WEIGHTS, HEAD_FILE = "adapter_config.json", "adapter_model.safetensors", "score.safetensors"
HEAD = "score.weight"
FOLDER = "adapter"  # beside the model that it was merged into, where this project did that
# Of peft's settings, those that make an adapter other than W x + alpha / rank B A x, with the values that do not.
PLAIN: dict[str, Any] = {
    "peft_type": "LORA",
    "use_rslora": False,
    "use_dora": False,
    "bias": "none",
    "fan_in_fan_out": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "layers_to_transform": None,
}


def read_lora(folder: Path, field: str) -> LoraConfig:
    """The settings of the adapter in a folder.

    Args:
        field: of the configuration that names the folder, for messages.

    Raises:
        MistakeError: it holds no adapter, or one of another kind.
    """
    settings = read_json(folder / CONFIG)
    if not isinstance(settings, dict) or not (folder / WEIGHTS).is_file():
        raise refused(field, folder, f"it holds no adapter, which is {CONFIG} and {WEIGHTS}")
    for name, plain in PLAIN.items():
        if (settings.get(name) or plain) != plain:
            raise refused(field, folder, f"its {CONFIG} has {name} {settings[name]!r}: only {plain!r} can be used")
    targets = settings["target_modules"]
    return LoraConfig(
        rank=settings["r"],
        alpha=settings["lora_alpha"],
        target_modules=targets if targets == "all-linear" else tuple(sorted(targets)),
    )


def weight_files(folder: Path) -> list[Path]:
    """The files with an adapter's weights, and with its head where that is in one of its own."""
    return [file for file in (folder / WEIGHTS, folder / HEAD_FILE) if file.is_file()]


def require_head(folder: Path, field: str) -> None:
    """Raise MistakeError where the adapter in a folder has no head that gives a score."""
    from safetensors import safe_open

    names: list[str] = []
    for file in weight_files(folder):
        with safe_open(file, framework="numpy") as tensors:
            names += tensors.keys()
    if not any(name.endswith(HEAD) for name in names):
        raise refused(field, folder, f"it holds no {HEAD}, which gives the score: in {WEIGHTS} or {HEAD_FILE}")


def require_shape(adapter: LoraConfig, lora: LoraConfig, field: str, folder: Path) -> None:
    """Raise MistakeError where an adapter is of another shape than the one that goes on with it."""
    for name in ("rank", "alpha"):
        own, given = getattr(lora, name), getattr(adapter, name)
        if own != given:
            raise MistakeError(
                f"{field}.{name} is {own:g}, and the adapter in {folder}, which it goes on with, has {given:g}: take "
                "that"
            )
    if "all-linear" not in (lora.target_modules, adapter.target_modules):
        layers, given_layers = set(lora.target_modules), set(adapter.target_modules)
        if layers != given_layers:
            raise MistakeError(
                f"{field}.target_modules is {', '.join(sorted(layers))}, and the adapter in {folder}, which it goes on "
                f"with, is for {', '.join(sorted(given_layers))}: take these"
            )


def refused(field: str, folder: Path, reason: str) -> MistakeError:
    """Of a folder that a setting names."""
    return MistakeError(f"{field} is {str(folder)!r}: {reason}")
