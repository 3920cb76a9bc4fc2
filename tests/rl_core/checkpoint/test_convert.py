"""From a DCP folder to a Hugging Face folder, and that what is wrong with either is noticed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from rl_core.checkpoint.convert import convert
from rl_core.checkpoint.probe import last_logits, read_probe, write_probe
from rl_core.checkpoint.tensors import StoredModel, write_tensors
from rl_core.checkpoint.verify import verify_logits, verify_tensors, verify_tokenizer
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.errors import GuardStop, MistakeError
from rl_core.world import World
from tests.rl_core.tiny import tiny_llama, tiny_qwen2

CPU = torch.device("cpu")
PROMPTS = [[5, 6, 7], [8]]
ONE_FILE = 10**9


@dataclass(frozen=True)
class Checkpoint:
    """A policy as a trainer leaves it."""

    model: PreTrainedModel
    policy: Path  # model files, the trainer's logits
    weights: Path  # DCP

    def convert(self, target: Path, *, dtype: torch.dtype = torch.float32, max_shard_bytes: int = ONE_FILE) -> Path:
        """Converted into a new folder."""
        target.mkdir()
        convert(self.weights, target, model_files=self.policy, dtype=dtype, max_shard_bytes=max_shard_bytes)
        return target


def leave(
    model: PreTrainedModel, folder: Path, *, rename: Callable[[str], str] = str, lacking: tuple[str, ...] = ()
) -> Checkpoint:
    """A checkpoint of `model`, its parameters stored under other names if need be."""
    policy = folder / "policy"
    policy.mkdir(parents=True)
    weights = {rename(name): value for name, value in model.named_parameters() if name not in lacking}
    write_tensors(policy / "weights", {name: value.detach().clone() for name, value in weights.items()})
    model.config.save_pretrained(policy)
    model.generation_config.save_pretrained(policy)
    build_tokenizer().save_pretrained(policy)
    write_probe(policy, PROMPTS, last_logits(model, PROMPTS, CPU))
    return Checkpoint(model, policy, policy / "weights")


@pytest.fixture
def checkpoint(world: World, tmp_path: Path) -> Checkpoint:
    return leave(tiny_qwen2(), tmp_path / "step_000001")


def exported(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.mark.parametrize(
    "build", [tiny_qwen2, lambda: tiny_qwen2(tied=False), tiny_llama], ids=["qwen2 tied", "qwen2 untied", "llama"]
)
def test_the_converted_folder_is_the_model_by_its_path_alone(
    world: World, tmp_path: Path, build: Callable[[], PreTrainedModel]
) -> None:
    checkpoint = leave(build(), tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(checkpoint.convert(tmp_path / "hf"))
    assert loaded.dtype == torch.float32
    assert type(loaded) is type(checkpoint.model)
    for name, parameter in checkpoint.model.named_parameters():
        assert torch.equal(loaded.get_parameter(name), parameter), name
    assert loaded.generation_config.eos_token_id == checkpoint.model.generation_config.eos_token_id
    # Equal weights, but for how they lie in memory: that is enough for another order of summation.
    torch.testing.assert_close(last_logits(loaded.eval(), PROMPTS, CPU), last_logits(checkpoint.model, PROMPTS, CPU))


def test_shards_have_an_index_and_load_by_the_folder_alone(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = checkpoint.convert(tmp_path / "hf", max_shard_bytes=6000)
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(shards) > 2
    assert shards == [f"model-{n:05d}-of-{len(shards):05d}.safetensors" for n in range(1, len(shards) + 1)]
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(shards)
    assert set(index["weight_map"]) == {name for name, _ in checkpoint.model.named_parameters()}
    for shard in shards:
        tensors = load_file(folder / shard)
        assert sum(tensor.nbytes for tensor in tensors.values()) <= 6000 or len(tensors) == 1
        assert all(index["weight_map"][name] == shard for name in tensors)
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    for name, parameter in checkpoint.model.named_parameters():
        assert torch.equal(loaded.get_parameter(name), parameter), name


def test_bfloat16_is_each_weight_rounded_and_the_configuration_says_so(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = checkpoint.convert(tmp_path / "hf", dtype=torch.bfloat16)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    tensors = exported(folder)
    for name, parameter in checkpoint.model.named_parameters():
        assert torch.equal(tensors[name], parameter.to(torch.bfloat16)), name
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16


def test_the_file_says_that_it_is_of_torch(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with safe_open(checkpoint.convert(tmp_path / "hf") / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize("root", ["model.", "app.model."])
def test_checkpoints_of_other_trainers_convert_to_the_same(world: World, tmp_path: Path, root: str) -> None:
    checkpoint = leave(tiny_qwen2(), tmp_path, rename=lambda name: root + name)
    folder = checkpoint.convert(tmp_path / "hf")
    for name, parameter in checkpoint.model.named_parameters():
        assert torch.equal(exported(folder)[name], parameter), name


def test_a_checkpoint_that_lacks_a_parameter_is_refused(world: World, tmp_path: Path) -> None:
    checkpoint = leave(tiny_qwen2(), tmp_path, lacking=("model.layers.1.mlp.up_proj.weight",))
    with pytest.raises(MistakeError, match=r"lacks 1 of .* first model\.layers\.1\.mlp\.up_proj\.weight"):
        checkpoint.convert(tmp_path / "hf")


def test_a_checkpoint_of_another_model_or_size_is_refused(world: World, tmp_path: Path, checkpoint: Checkpoint) -> None:
    other = leave(tiny_llama(), tmp_path / "llama")
    with pytest.raises(MistakeError, match="lacks"):
        Checkpoint(checkpoint.model, checkpoint.policy, other.weights).convert(tmp_path / "hf")
    larger = leave(tiny_qwen2(hidden_size=26), tmp_path / "larger")
    with pytest.raises(MistakeError, match=r"holds model\.embed_tokens\.weight of shape \[53, 26\], .* \[53, 24\]"):
        Checkpoint(checkpoint.model, checkpoint.policy, larger.weights).convert(tmp_path / "hf 2")


def test_a_folder_that_is_no_checkpoint_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match=r"no \.metadata there"):
        Checkpoint(checkpoint.model, checkpoint.policy, tmp_path).convert(tmp_path / "hf")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused(world: World, tmp_path: Path, value: float) -> None:
    model = tiny_qwen2()
    with torch.no_grad():
        model.get_parameter("model.norm.weight")[3] = value
    with pytest.raises(GuardStop, match=r"model\.norm\.weight is not finite"):
        leave(model, tmp_path).convert(tmp_path / "hf")


def test_the_shards_of_the_model_files_are_not_taken_along(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.model.save_pretrained(checkpoint.policy, max_shard_size="10KB")
    assert (checkpoint.policy / "model.safetensors.index.json").is_file()
    folder = checkpoint.convert(tmp_path / "hf")
    assert [path.name for path in folder.glob("*.safetensors*")] == ["model.safetensors"]


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Rewrite the exported weights."""
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


UP, GATE = "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.gate_proj.weight"


def one_bit(tensors: dict[str, torch.Tensor]) -> None:
    tensors[UP].view(torch.int32)[3, 4] ^= 1


def one_value(tensors: dict[str, torch.Tensor]) -> None:
    tensors[UP][3, 4] += 5


def swapped(tensors: dict[str, torch.Tensor]) -> None:
    tensors[UP], tensors[GATE] = tensors[GATE], tensors[UP]


def dropped(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[UP]


def added(tensors: dict[str, torch.Tensor]) -> None:
    tensors["other"] = torch.zeros(1)


def reshaped(tensors: dict[str, torch.Tensor]) -> None:
    tensors[UP] = tensors[UP].T.contiguous()


@pytest.mark.parametrize("edit", [one_bit, one_value, swapped, dropped, added, reshaped])
def test_an_exported_tensor_that_is_not_the_checkpoints_is_noticed(
    checkpoint: Checkpoint, tmp_path: Path, edit: Callable[[dict[str, torch.Tensor]], None]
) -> None:
    folder = checkpoint.convert(tmp_path / "hf")
    names = {name: name for name, _ in checkpoint.model.named_parameters()}
    source = StoredModel(checkpoint.weights, names)
    assert verify_tensors(source, folder, torch.float32) == len(names)
    change(folder, edit)
    with pytest.raises(GuardStop):
        verify_tensors(source, folder, torch.float32)


@pytest.mark.parametrize("edit", [one_value, swapped])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_that_are_not_the_trainers_are_noticed(
    checkpoint: Checkpoint, tmp_path: Path, edit: Callable[[dict[str, torch.Tensor]], None], dtype: torch.dtype
) -> None:
    folder = checkpoint.convert(tmp_path / "hf", dtype=dtype)
    figures = verify_logits(folder, checkpoint.policy, dtype)
    assert 0 <= figures["logits_max_difference"] <= figures["logits_allowed_difference"]
    change(folder, edit)
    with pytest.raises(GuardStop, match="logits differ from the trainer's"):
        verify_logits(folder, checkpoint.policy, dtype)


def test_logits_that_are_not_finite_are_noticed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = checkpoint.convert(tmp_path / "hf")

    def broken(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"][0] = float("nan")

    change(folder, broken)
    with pytest.raises(GuardStop, match="differ"):
        verify_logits(folder, checkpoint.policy, torch.float32)


def test_without_the_trainers_logits_it_is_said_that_they_were_not_compared(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    (checkpoint.policy / "probe.safetensors").unlink()
    folder = checkpoint.convert(tmp_path / "hf")
    assert "not compared" in verify_logits(folder, checkpoint.policy, torch.float32)["logits"]


def test_prompts_and_logits_come_back_as_they_were(checkpoint: Checkpoint) -> None:
    stored = read_probe(checkpoint.policy)
    assert stored is not None
    assert stored[0] == PROMPTS
    assert torch.equal(stored[1], last_logits(checkpoint.model, PROMPTS, CPU))


def test_logits_are_recorded_without_dropout_and_training_goes_on(checkpoint: Checkpoint) -> None:
    model, expected = checkpoint.model, last_logits(checkpoint.model, PROMPTS, CPU)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    model.train()
    assert torch.equal(last_logits(model, PROMPTS, CPU), expected)
    assert model.training


def test_a_tokenizer_that_loses_text_is_noticed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = checkpoint.convert(tmp_path / "hf")
    texts = ["Compute 12 a+5 b-6", "3a+4=7\n\\boxed{7}", "Sei \u03b1 \u2264 \u221a2, d\u2019o\u00f9"]
    assert verify_tokenizer(folder, texts) == 3
    # The pre-tokenizer that AutoTokenizer puts in place is not the saved one's: spaces are lost.
    file = folder / "tokenizer.json"
    saved = json.loads(file.read_text())
    saved["decoder"] = {"type": "Fuse"}
    file.write_text(json.dumps(saved))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").unlink()
    with pytest.raises(GuardStop, match="does not give back"):
        verify_tokenizer(folder, texts)
