"""What this rank writes of a checkpoint, copied into CPU memory, so that training may go on while it is written."""

from collections.abc import Iterator

import torch

from rl_core.training.partitions import MOMENTS, read_moment, read_weight
from rl_core.training.trained_module import TrainedModule


class HostCopies:
    """Copies of the weights and moments that this rank writes: each parameter belongs to one rank.

    The memory is taken at the first copy and kept: 12 bytes for each parameter of this rank. On an accelerator it is
    pinned, which takes longer to allocate than to fill.
    """

    def __init__(self, module: TrainedModule) -> None:
        self.weights: dict[str, torch.Tensor] = {}  # by the parameter's name, float32
        self.moments: dict[str, torch.Tensor] = {}  # <moment>.<parameter's name>, float32
        self._module = module
        self._pinned = module.world.device.type != "cpu"

    @torch.no_grad()
    def update(self) -> None:
        """Copy what the module holds now. A collective call: one tensor at a time is gathered."""
        world = self._module.world
        for index, (name, parameter) in enumerate(self._module.named_parameters()):
            mine = index % world.size == world.rank
            for copies, copied_name, value in self._values(name, parameter):
                if mine:
                    self._copy(copies, copied_name, value)
        if self._pinned:
            torch.accelerator.synchronize()

    def _values(
        self, name: str, parameter: torch.nn.Parameter
    ) -> Iterator[tuple[dict[str, torch.Tensor], str, torch.Tensor]]:
        yield self.weights, name, read_weight(parameter)
        for moment in MOMENTS:
            yield self.moments, f"{moment}.{name}", read_moment(self._module, parameter, moment)

    def _copy(self, copies: dict[str, torch.Tensor], name: str, value: torch.Tensor) -> None:
        if name not in copies:
            copies[name] = torch.empty(value.shape, dtype=torch.float32, pin_memory=self._pinned)
        copies[name].copy_(value, non_blocking=self._pinned)
