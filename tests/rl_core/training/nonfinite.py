"""An update that is not finite, and all of a module that it must leave as it was."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from rl_core.config import AlgorithmConfig
from rl_core.training.batching import Sample
from rl_core.training.partitions import MOMENTS, read_moment, read_weight
from rl_core.training.trained_module import TrainedModule
from tests.rl_core.training.tiny_training import REWARDS

ALL_AT_ONCE = AlgorithmConfig(minibatch_sequences=len(REWARDS))  # one update a step
SPOILT = 3  # of the fixed responses, one that has something to teach

State = dict[str, torch.Tensor]


def spoilt(samples: Sequence[Sample], advantage: float = math.nan) -> list[Sample]:
    """The samples of the fixed responses, the advantage of one of which is not finite."""
    return [replace(sample, advantage=advantage) if sample.row == SPOILT else sample for sample in samples]


def state_of(module: TrainedModule) -> State:
    """Master weights, what is computed with, and AdamW's moments and steps. A collective call."""
    state = {"step": torch.stack([torch.as_tensor(kept["step"]) for kept in module.adamw.state.values()])}
    for name, parameter in module.named_parameters():
        state[name] = read_weight(parameter)
        state[f"computed.{name}"] = parameter.detach() if module.zero_stage < 3 else parameter.ds_tensor  # type: ignore[attr-defined]
        state |= {f"{moment}.{name}": read_moment(module, parameter, moment) for moment in MOMENTS}
    return {name: tensor.clone() for name, tensor in state.items()}


def same_state(got: State, expected: State) -> bool:
    """To the bit: what pads a partition under ZeRO-3 was never set, and may be NaN, which equals nothing."""
    return got.keys() == expected.keys() and all(torch.equal(_bits(got[name]), _bits(expected[name])) for name in got)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1).contiguous().view(torch.uint8)
