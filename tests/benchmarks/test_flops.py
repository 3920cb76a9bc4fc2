"""Operations are counted as by hand, and as torch counts them where both count the same."""

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2Config, Qwen2ForCausalLM

from benchmarks.flops import forward_flops, matrix_peak

CONFIG = Qwen2Config(
    vocab_size=10,
    hidden_size=4,
    intermediate_size=8,
    num_hidden_layers=3,
    num_attention_heads=2,
    num_key_value_heads=1,
)


def test_operations_of_a_sequence_are_those_counted_by_hand() -> None:
    projections = 4 * 4 + 4 * 2 + 4 * 2 + 4 * 4  # q, k, v, o
    mlp = 3 * 4 * 8
    of_each_token = 2 * (projections + mlp)
    seen = 1 + 2 + 3  # by the first, second and third token
    attention = (2 + 2) * 4 * seen  # scores, and the weighted sum of values
    head = 2 * 4 * 10
    assert forward_flops(CONFIG, 1, 2) == 3 * (3 * of_each_token + attention) + 2 * head


def test_a_single_token_is_counted_as_torch_counts_it() -> None:
    model = Qwen2ForCausalLM._from_config(CONFIG, attn_implementation="eager")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.tensor([[3]]), use_cache=False)
    assert forward_flops(CONFIG, 0, 1) == counter.get_total_flops()


def test_a_matrix_product_gives_more_than_a_million_operations_a_second() -> None:
    assert matrix_peak(torch.device("cpu"), torch.float32) > 1e6
