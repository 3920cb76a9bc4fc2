"""Reaching one parameter, and its optimizer state, at every ZeRO stage: whole to read, by parts to write.

DeepSpeed keeps float32 master values and AdamW's moments flattened and split over ranks; its accessors give them back
under the parameter they belong to. Without ZeRO, which is for float32 alone, torch holds them.
Every function here is a collective call.
"""

import deepspeed
import torch
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)

from rl_core.training.trained_module import TrainedModule

MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's own names


def read_weight(parameter: torch.nn.Parameter) -> torch.Tensor:
    """The float32 master value, whole, in the parameter's shape."""
    if _is_split(parameter):
        return safe_get_full_fp32_param(parameter)
    return parameter.detach().float()


def read_moment(module: TrainedModule, parameter: torch.nn.Parameter, moment: str) -> torch.Tensor:
    """One of MOMENTS, whole, in the parameter's shape, float32."""
    if _is_split(parameter):
        return safe_get_full_optimizer_state(parameter, moment)
    value: torch.Tensor = module.adamw.state[parameter][moment]
    return value


@torch.no_grad()
def write_weight(module: TrainedModule, parameter: torch.nn.Parameter, value: torch.Tensor) -> None:
    """Set the master value and what the forward pass computes with."""
    value = value.to(module.world.device)
    if module.zero_stage == 3:
        safe_set_local_fp32_param(parameter, _own_part(module, parameter, value))
        with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
            parameter.copy_(value)
        return
    if _is_split(parameter):
        safe_set_full_fp32_param(parameter, value)
    parameter.copy_(value)


@torch.no_grad()
def write_moment(module: TrainedModule, parameter: torch.nn.Parameter, moment: str, value: torch.Tensor) -> None:
    """Set one of MOMENTS; `create_moments` comes first."""
    value = value.to(module.world.device)
    if module.zero_stage == 3:
        safe_set_local_optimizer_state(parameter, _own_part(module, parameter, value), moment)
    elif _is_split(parameter):
        safe_set_full_optimizer_state(parameter, value, moment)
    else:
        module.adamw.state[parameter][moment].copy_(value)


def create_moments(module: TrainedModule, optimizer_steps: int) -> None:
    """Give AdamW its state before its first step, which would otherwise create it, at `optimizer_steps` steps."""
    optimizer = module.engine.optimizer
    if module.zero_stage == 3:
        held = optimizer.fp32_partitioned_groups_flat
    else:
        held = [tensor for group in module.adamw.param_groups for tensor in group["params"]]
    for tensor in held:
        module.adamw.state[tensor] = {
            "step": torch.tensor(float(optimizer_steps)),
            **{moment: torch.zeros_like(tensor) for moment in MOMENTS},
        }
    if module.zero_stage in (1, 2):
        optimizer._lazy_init_hp_params_optimizer_state()


def _is_split(parameter: torch.nn.Parameter) -> bool:
    return hasattr(parameter, "ds_id") or hasattr(parameter, "_hp_mapping")


def _own_part(module: TrainedModule, parameter: torch.nn.Parameter, value: torch.Tensor) -> torch.Tensor:
    """This rank's slice of a ZeRO-3 parameter, with the zeros that fill the last rank's."""
    size = int(parameter.ds_tensor.ds_numel)  # type: ignore[attr-defined]
    flat = value.float().flatten()
    padded = torch.nn.functional.pad(flat, (0, size * module.world.size - flat.numel()))
    return padded[size * module.world.rank : size * (module.world.rank + 1)]
