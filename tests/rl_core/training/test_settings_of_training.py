"""The learning rate, and what DeepSpeed is told."""

import pytest
import torch

from rl_core.config.models import OptimizerConfig
from rl_core.config.training import TrainingConfig
from rl_core.errors import MistakeError
from rl_core.training.deepspeed_config import deepspeed_config
from rl_core.training.schedule import learning_rate


def test_the_rate_rises_in_a_line_and_stays() -> None:
    optimizer = OptimizerConfig(learning_rate=1e-3, warmup_steps=4, warmup_start_factor=0.2)
    rates = [learning_rate(optimizer, step) for step in range(1, 8)]
    assert rates == pytest.approx([0.2e-3, 0.4e-3, 0.6e-3, 0.8e-3, 1e-3, 1e-3, 1e-3])


def test_without_warm_up_the_rate_is_constant() -> None:
    assert {learning_rate(OptimizerConfig(learning_rate=5e-5), step) for step in (1, 2, 1000)} == {5e-5}


def test_the_warm_up_is_that_of_torch() -> None:
    optimizer = OptimizerConfig(learning_rate=2e-4, warmup_steps=5, warmup_start_factor=0.1)
    parameters = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=optimizer.learning_rate)
    scheduler = torch.optim.lr_scheduler.LinearLR(parameters, start_factor=0.1, total_iters=5)
    for step in range(1, 10):
        assert learning_rate(optimizer, step) == pytest.approx(scheduler.get_last_lr()[0])
        parameters.step()
        scheduler.step()


def test_deepspeed_is_told_what_the_recipe_says() -> None:
    config = deepspeed_config(
        TrainingConfig(zero_stage=2), OptimizerConfig(max_grad_norm=0.5), num_trained=7, bfloat16=True
    )
    assert config["zero_optimization"] == {"stage": 2, "reduce_bucket_size": 7}
    assert config["gradient_clipping"] == 0.5
    assert config["bf16"] == {"enabled": True}
    assert (config["train_micro_batch_size_per_gpu"], config["gradient_accumulation_steps"]) == (1, 1)


def test_more_of_deepspeeds_own_settings_are_added_section_by_section() -> None:
    more = {"zero_optimization": {"overlap_comm": True}, "wall_clock_breakdown": True}
    config = deepspeed_config(
        TrainingConfig(zero_stage=3, deepspeed=more), OptimizerConfig(), num_trained=10**9, bfloat16=False
    )
    assert config["zero_optimization"] == {"stage": 3, "reduce_bucket_size": 500_000_000, "overlap_comm": True}
    assert config["wall_clock_breakdown"] is True
    assert more == {"zero_optimization": {"overlap_comm": True}, "wall_clock_breakdown": True}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"train_batch_size": 8}, "train_batch_size"),
        ({"train_micro_batch_size_per_gpu": 8}, "train_micro_batch_size_per_gpu"),
        ({"gradient_accumulation_steps": 8}, "gradient_accumulation_steps"),
        ({"optimizer": {"type": "Adam"}}, "optimizer"),
        ({"scheduler": {"type": "WarmupLR"}}, "scheduler"),
        ({"gradient_clipping": 0.1}, "gradient_clipping"),
        ({"bf16": {"enabled": False}}, "bf16"),
        ({"fp16": {"enabled": True}}, "fp16"),
        ({"zero_optimization": {"stage": 3}}, "zero_optimization.stage"),
    ],
)
def test_what_the_recipe_decides_itself_is_refused(more: dict[str, object], field: str) -> None:
    with pytest.raises(MistakeError, match=f"training.deepspeed.{field}: decided by the recipe"):
        deepspeed_config(TrainingConfig(deepspeed=more), OptimizerConfig(), num_trained=10**9, bfloat16=False)


def test_bfloat16_without_zero_is_refused() -> None:
    with pytest.raises(MistakeError, match=r"set training\.zero_stage to 1"):
        deepspeed_config(TrainingConfig(zero_stage=0), OptimizerConfig(), num_trained=10**9, bfloat16=True)
