"""One transformer whose weights stay as they are, with an adapter for each role that a training gives it.

    policy      trained; what the sampler is given, and what is active unless something else is said
    value       trained, with a head of its own, by an optimizer of its own
    reference   frozen: the adapter that the stage began with; none, where it began with none
    reward      frozen, with a head

DeepSpeed is shown a role, never the transformer: a module whose parameters are the adapter and the head alone. So an
engine can neither move, cast, broadcast, clip nor reset what is frozen or another engine's: it does not know of it.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from rl_core.config.models import LoraConfig
from rl_core.errors import MistakeError
from rl_core.models.lora import A, B, add_adapter, linear_layers, name_without_peft, only_adapter, select_adapter

Role = Literal["policy", "value", "reference", "reward"]
TRAINED: tuple[Role, ...] = ("policy", "value")
PREFIX = "trained."


class SharedBase:
    """A causal language model below adapters, each by the name of its role."""

    def __init__(self, causal_lm: PreTrainedModel) -> None:
        self.causal_lm = causal_lm.requires_grad_(False)
        self._linear = tuple(sorted(linear_layers(causal_lm)))
        self._roles: list[Role] = []

    def add(
        self, role: Role, lora: LoraConfig, tensors: Mapping[str, torch.Tensor] | None = None, *, field: str
    ) -> None:
        """Put a role's adapter on the model: a copy of the tensors, or one that changes nothing yet (None).

        Args:
            tensors: A and B of every layer that it is for, by the names of `rl_core.models.lora`.
            field: of the configuration that the adapter is from, for messages.

        Raises:
            MistakeError: the adapter is for layers that the model does not have, or lacks some that it should be for.
        """
        if lora.target_modules == "all-linear":  # which to peft would also be the adapters that are there
            lora = lora.model_copy(update={"target_modules": self._linear})
        add_adapter(self.causal_lm, lora, field=f"{field}.target_modules", adapter=role)
        self._roles.append(role)
        if tensors is not None:
            self._copy(role, tensors, field)
        for name, parameter in self.causal_lm.named_parameters():
            parameter.requires_grad_(any(f".{trained}.weight" in name for trained in TRAINED))

    def has(self, role: Role) -> bool:
        """Whether there is an adapter of this role."""
        return role in self._roles

    @contextmanager
    def active(self, role: Role | None) -> Iterator[None]:
        """The model as this role sees it; None: without any adapter.

        A backward pass belongs inside: with gradient checkpointing it computes the layers again.
        """
        with only_adapter(self.causal_lm, role):
            yield

    @contextmanager
    def answering(self, role: Role | None) -> Iterator[None]:
        """`active`, for an answer without gradient and without dropout; the mode is the same as before afterwards."""
        training = self.causal_lm.training
        with self.active(role), torch.no_grad():
            self.causal_lm.eval()
            try:
                yield
            finally:
                self.causal_lm.train(training)

    def settle(self, device: torch.device) -> None:
        """Move the model to its device, and leave the policy active. Once, when every adapter is there."""
        self.causal_lm.to(device)
        select_adapter(self.causal_lm, "policy")

    def frozen(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """The parameters below all adapters, by their names in the model."""
        for name, parameter in self.causal_lm.named_parameters():
            if not name_without_peft(name).endswith((A, B)):
                yield name_without_peft(name), parameter

    def adapter(self, role: Role) -> dict[str, torch.nn.Linear]:
        """The maps of a role's adapter, whose only parameter is `weight`, by their names without a role."""
        return {
            name.removesuffix(f".{role}"): module
            for name, module in self.causal_lm.named_modules()
            if isinstance(module, torch.nn.Linear) and name.endswith((f".lora_A.{role}", f".lora_B.{role}"))
        }

    def module(self, role: Role, computes: torch.nn.Module, **heads: torch.nn.Module) -> "RoleModule":
        """What DeepSpeed is shown of a role.

        Args:
            computes: the forward pass, over this model.
            heads: what of it is trained besides the adapter.
        """
        return RoleModule(self, role, computes, {**self.adapter(role), **heads})

    def _copy(self, role: Role, tensors: Mapping[str, torch.Tensor], field: str) -> None:
        own = {f"{name}.weight": module.weight for name, module in self.adapter(role).items()}
        if own.keys() != tensors.keys():
            differing = min(own.keys() ^ tensors.keys())
            told = "lacks" if differing in own else "has, and the model cannot take,"
            raise MistakeError(f"{field}: the adapter that the {role} begins with {told} {differing}")
        for name, parameter in own.items():
            if parameter.shape != tensors[name].shape:
                raise MistakeError(
                    f"{field}: the adapter that the {role} begins with has {name} of shape "
                    f"{list(tensors[name].shape)}, and the model's is {list(parameter.shape)}"
                )
            parameter.data.copy_(tensors[name])


class RoleModule(torch.nn.Module):
    """A role as DeepSpeed sees it: the forward pass of all, the parameters of the adapter and the head alone."""

    def __init__(
        self, base: SharedBase, role: Role, computes: torch.nn.Module, trained: Mapping[str, torch.nn.Module]
    ) -> None:
        super().__init__()
        self.trained = _tree(trained)
        # In a tuple, where torch does not look for parameters.
        self._computes = (computes,)
        self._base, self._role = base, role

    def active(self) -> AbstractContextManager[None]:
        """Around a forward and its backward pass."""
        return self._base.active(self._role)

    @property
    def computes(self) -> torch.nn.Module:
        """The forward pass by itself, for whichever adapter is active."""
        return self._computes[0]

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """Of the role."""
        with self.active():
            return self.computes(*arguments, **options)

    def train(self, mode: bool = True) -> "RoleModule":
        """Sets the mode of the transformer as well."""
        self.computes.train(mode)
        return super().train(mode)


def _tree(modules: Mapping[str, torch.nn.Module]) -> torch.nn.Module:
    """The modules in one of their own, each under its dotted name."""
    root = torch.nn.Module()
    for name, module in modules.items():
        *parents, last = name.split(".")
        node = root
        for parent in parents:
            if parent not in dict(node.named_children()):
                node.add_module(parent, torch.nn.Module())
            node = node.get_submodule(parent)
        node.add_module(last, module)
    return root
