"""From an adapter's checkpoint to the merged model and the adapter beside it, and what is wrong with either noticed."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from rl_core.checkpoint import merge
from rl_core.checkpoint.convert import convert, convert_adapter
from rl_core.checkpoint.probe import last_logits, write_probe
from rl_core.checkpoint.tensors import write_tensors
from rl_core.config.models import LoraConfig
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.errors import GuardStop, MistakeError
from rl_core.models.lora import add_adapter, name_without_peft
from rl_core.world import World
from tests.rl_core.tiny import tiny_llama, tiny_qwen2

CPU = torch.device("cpu")
PROMPTS = [[5, 6, 7], [8]]
LORA = LoraConfig(rank=3, alpha=5, target_modules=("q_proj", "down_proj"))
Q = "model.layers.0.self_attn.q_proj"


@dataclass(frozen=True)
class Trained:
    """A checkpoint of an adapter as a trainer leaves it, and the model that it was put on."""

    model: PreTrainedModel  # with its adapter
    base: Path
    policy: Path

    def convert(
        self, folder: Path, *, dtype: torch.dtype = torch.float32, lora: LoraConfig = LORA
    ) -> dict[str, object]:
        folder.mkdir()
        return convert_adapter(
            self.policy / "weights",
            folder,
            base=self.base,
            lora=lora,
            model_files=self.policy,
            dtype=dtype,
            max_shard_bytes=6000,
        )


def leave(folder: Path, *, size: float = 0.1) -> Trained:
    """An adapter whose every value is drawn with this spread."""
    model = tiny_qwen2(seed=0)
    model.save_pretrained(folder / "base")
    add_adapter(model, LORA)
    draw = torch.Generator().manual_seed(1)
    adapter = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * size)
                adapter[name_without_peft(name)] = parameter.detach().clone()
    policy = folder / "policy"
    policy.mkdir()
    write_tensors(policy / "weights", adapter)
    model.config.save_pretrained(policy)
    model.generation_config.save_pretrained(policy)
    build_tokenizer().save_pretrained(policy)
    write_probe(policy, PROMPTS, last_logits(model, PROMPTS, CPU))
    return Trained(model, folder / "base", policy)


@pytest.fixture
def trained(world: World, tmp_path: Path) -> Trained:
    return leave(tmp_path)


def test_the_merged_folder_is_the_policy_by_its_path_alone(trained: Trained, tmp_path: Path) -> None:
    verified = trained.convert(tmp_path / "hf")
    assert verified["adapter_layers_changed"] == "4 of 4"
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    assert not any("lora" in name for name, _ in merged.named_parameters())
    torch.testing.assert_close(last_logits(merged, PROMPTS, CPU), last_logits(trained.model, PROMPTS, CPU))
    below = AutoModelForCausalLM.from_pretrained(trained.base)
    layer = trained.model.get_submodule(Q)
    added = 5 / 3 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(merged.get_submodule(Q).weight, below.get_submodule(Q).weight + added)
    assert torch.equal(merged.model.embed_tokens.weight, below.model.embed_tokens.weight)


def test_the_adapter_beside_it_is_the_policy_on_the_model_below(trained: Trained, tmp_path: Path) -> None:
    trained.convert(tmp_path / "hf")
    model = AutoModelForCausalLM.from_pretrained(trained.base).eval()
    model.load_adapter(str(tmp_path / "hf" / "adapter"))
    torch.testing.assert_close(last_logits(model, PROMPTS, CPU), last_logits(trained.model, PROMPTS, CPU))
    assert len(load_file(tmp_path / "hf" / "adapter" / "adapter_model.safetensors")) == 8


def test_another_scale_than_the_trainers_is_noticed(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(GuardStop, match="logits differ from the trainer's"):
        trained.convert(tmp_path / "hf", lora=LORA.model_copy(update={"alpha": 6.0}))


def test_a_merge_that_leaves_the_adapter_out_is_noticed(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "with_scale", lambda name, tensor, lora: tensor * 0)
    with pytest.raises(GuardStop, match="logits differ from the trainer's"):
        trained.convert(tmp_path / "hf")


def test_an_adapter_that_rounding_takes_away_is_noticed(world: World, tmp_path: Path) -> None:
    trained = leave(tmp_path, size=1e-4)  # products of 1e-8 beside weights of 1e-1, of which bfloat16 keeps 8 bits
    with pytest.raises(GuardStop, match="the merged model is the one below the adapter, bit for bit"):
        trained.convert(tmp_path / "hf", dtype=torch.bfloat16)


def test_an_adapter_that_was_never_trained_is_merged_all_the_same(world: World, tmp_path: Path) -> None:
    assert leave(tmp_path, size=0.0).convert(tmp_path / "hf")["adapter_layers_changed"] == "0 of 4"


def test_an_adapter_of_another_model_is_refused(trained: Trained, tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path / "other")
    with pytest.raises(MistakeError, match="lacks 15 of the model's tensors"):
        Trained(trained.model, tmp_path / "other", trained.policy).convert(tmp_path / "hf")


def test_an_adapter_cannot_be_converted_without_its_run(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match="holds an adapter, without the model below it"):
        convert(
            trained.policy / "weights", tmp_path, model_files=trained.policy, dtype=torch.float32, max_shard_bytes=10**9
        )
