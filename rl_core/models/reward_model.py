"""A learned reward model: a transformer with one score, which judges whole conversations."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

from rl_core.errors import MistakeError
from rl_core.models.load import DTYPES
from rl_core.models.shared_base import SharedBase
from rl_core.training.grouping import Layout, split_by_tokens
from rl_core.types import Message

Tokens = list[int]


class RewardModel:
    """The model in a folder, on this process's device: in evaluation mode, without gradients.

    It computes in bfloat16 on an accelerator and in float32 on a CPU, and is loaded whole on every rank.

    Raises:
        MistakeError: the folder lacks weights of the model, such as the head that gives the score.
    """

    def __init__(self, folder: Path) -> None:
        device = _device()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=DTYPES["float32" if device.type == "cpu" else "bfloat16"], output_loading_info=True
        )
        if loading["missing_keys"]:  # transformers would draw them at random
            raise MistakeError(
                f"rewards: reward_model: {folder} holds no weights for {', '.join(sorted(loading['missing_keys']))}: "
                "it is not a trained reward model"
            )
        self._model = model.requires_grad_(False).eval().to(device)
        text_config = model.config.get_text_config()
        self.context_tokens: int | None = getattr(text_config, "max_position_embeddings", None)
        self._padding: int | None = text_config.pad_token_id

    def tokens(self, conversation: Sequence[Message]) -> Tokens:
        """A conversation by the model's own chat template."""
        return self._tokenizer.apply_chat_template(list(conversation), return_dict=False)

    def scores(self, sequences: Sequence[Tokens], max_batch_tokens: int) -> list[float]:
        """The score of each sequence, in their order.

        Sequences of alike length are computed together, up to `max_batch_tokens` with padding; a longer one is alone.
        The model takes its score from the last token that is not padding, so it has to know what is: one without a
        pad_token_id is asked for one sequence at a time.
        """
        lengths = [len(sequence) for sequence in sequences]
        groups = split_by_tokens(range(len(sequences)), lengths, Layout(max_batch_tokens))
        if self._padding is None:
            groups = [[index] for group in groups for index in group]
        found: dict[int, float] = {}
        for group in groups:
            scores = self._forward([sequences[index] for index in group])
            found.update(zip(group, scores, strict=True))
        return [found[index] for index in range(len(sequences))]

    @torch.inference_mode()
    def _forward(self, sequences: Sequence[Tokens]) -> list[float]:
        """Of [S, T] tokens, padded on the right: [S] scores."""
        longest = max(map(len, sequences))
        tokens = torch.full((len(sequences), longest), self._padding or 0)
        mask = torch.zeros_like(tokens)
        for row, sequence in enumerate(sequences):
            tokens[row, : len(sequence)] = torch.tensor(sequence)
            mask[row, : len(sequence)] = 1
        device = self._model.device
        logits = self._model(input_ids=tokens.to(device), attention_mask=mask.to(device)).logits
        return logits.float()[:, 0].tolist()


class SharedRewardModel(RewardModel):
    """An adapter and a head on the frozen weights that the policy is trained on: no second model is held.

    It computes in the policy's dtype, and its score is that of the last token, whichever that is.
    """

    def __init__(self, base: SharedBase, head: torch.Tensor, tokenizer: PreTrainedTokenizerBase) -> None:
        """Args:
        base: with an adapter of the role `reward`.
        head: [1, H], of the score.
        """
        self._base, self._tokenizer = base, tokenizer
        model = base.causal_lm
        self._head = head.to(model.device, model.dtype)
        self.context_tokens = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._padding = 0  # any token: causal attention never sees what is behind the last

    def _forward(self, sequences: Sequence[Tokens]) -> list[float]:
        device, longest = self._head.device, max(map(len, sequences))
        tokens = torch.tensor([[*sequence, *[self._padding] * (longest - len(sequence))] for sequence in sequences])
        last = torch.tensor([len(sequence) - 1 for sequence in sequences])
        with self._base.answering("reward"):
            hidden = self._base.causal_lm.base_model(input_ids=tokens.to(device), use_cache=False).last_hidden_state
            chosen = hidden[torch.arange(len(sequences), device=device), last.to(device)]
            return torch.nn.functional.linear(chosen, self._head).float()[:, 0].tolist()


def _device() -> torch.device:
    """The device of this rank, as `World.join` has set it."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return torch.device("cpu")
    return torch.device(accelerator.type, torch.accelerator.current_device_index())
