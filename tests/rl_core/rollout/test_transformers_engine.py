import time
from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel

from rl_core.errors import GuardStop, MistakeError
from rl_core.models.token_logprobs import TokenLogprobs
from rl_core.rollout.engine import Sampling
from rl_core.rollout.fingerprint import require_equal, tensor_fingerprint
from rl_core.rollout.transformers_engine import TransformersEngine
from rl_core.types import Request
from tests.rl_core.tiny import END, VOCABULARY, tiny_llama, tiny_mistral, tiny_qwen2

ROUNDING = 2e-5  # of float32: a batch of another size is summed in another order
GREEDY = Sampling(temperature=0.0)
ENDS = (END, 17, 29, 33)
PROMPTS = [(5, 6, 7), (8,), (9, 10, 11, 12, 13, 14, 15), (2, 3), (20, 21, 22, 23), (40, 41, 42, 43, 44), (30, 31)]


def engine_of(model: PreTrainedModel, max_concurrent_sequences: int = 64) -> TransformersEngine:
    return TransformersEngine(model, max_concurrent_sequences=max_concurrent_sequences)


def requests(count: int = 21, max_new_tokens: int = 16) -> list[Request]:
    """Several responses to each prompt, every one with its own seed."""
    return [Request(PROMPTS[index % len(PROMPTS)], max_new_tokens, 100 + index) for index in range(count)]


@pytest.fixture(scope="module")
def ending() -> PreTrainedModel:
    """A model whose responses end at many lengths, some never."""
    model = tiny_qwen2()
    model.generation_config.eos_token_id = list(ENDS)
    return model


@pytest.mark.parametrize("build", [tiny_qwen2, tiny_llama, tiny_mistral])
def test_greedy_decoding_is_what_generate_of_transformers_gives(build: Callable[[], PreTrainedModel]) -> None:
    model, same = build(), build()  # the engine changes how its model computes attention
    model.generation_config.eos_token_id = same.generation_config.eos_token_id = list(ENDS)
    completions = engine_of(model).generate([Request(prompt, 12, 0) for prompt in PROMPTS], GREEDY)
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        alone = torch.tensor([prompt])
        generated = same.generate(alone, attention_mask=torch.ones_like(alone), max_new_tokens=12, do_sample=False)
        assert completion.token_ids == generated[0, len(prompt) :].tolist()
        assert completion.finish_reason == ("stop" if completion.token_ids[-1] in ENDS else "length")
    assert {completion.finish_reason for completion in completions} == {"stop", "length"}


def test_responses_that_end_are_kept_with_their_end_token_and_nothing_after(ending: PreTrainedModel) -> None:
    completions = engine_of(ending).generate(requests(), Sampling())
    stopped = [completion for completion in completions if completion.finish_reason == "stop"]
    cut = [completion for completion in completions if completion.finish_reason == "length"]
    assert len(stopped) >= 5
    assert len(cut) >= 3
    assert len({len(completion.token_ids) for completion in stopped}) >= 4
    for completion in stopped:
        assert [token in ENDS for token in completion.token_ids] == [False] * (len(completion.token_ids) - 1) + [True]
    for completion in cut:
        assert not set(ENDS) & set(completion.token_ids)
        assert len(completion.token_ids) == 16
    for completion in completions:
        assert len(completion.logprobs) == len(completion.token_ids)


def test_any_of_several_end_tokens_ends_a_response() -> None:
    model = tiny_qwen2()
    (free,) = engine_of(model).generate([Request((5, 6, 7), 12, 0)], GREEDY)
    model.generation_config.eos_token_id = [END, free.token_ids[4]]
    (ended,) = engine_of(model).generate([Request((5, 6, 7), 12, 0)], GREEDY)
    assert ended.token_ids == free.token_ids[: free.token_ids.index(free.token_ids[4]) + 1]
    assert ended.finish_reason == "stop"


def test_a_response_does_not_depend_on_the_others_in_its_batch(ending: PreTrainedModel) -> None:
    wanted, sampling = requests(14), Sampling(0.8, 0.95)
    together = engine_of(ending).generate(wanted, sampling)
    apart = [engine_of(ending).generate([request], sampling)[0] for request in wanted]
    in_fives = engine_of(ending, 5).generate(wanted, sampling)
    backwards = engine_of(ending).generate(wanted[::-1], sampling)[::-1]
    for others in (apart, in_fives, backwards):
        assert [completion.token_ids for completion in others] == [completion.token_ids for completion in together]
        for other, completion in zip(others, together, strict=True):
            assert other.logprobs == pytest.approx(completion.logprobs, abs=ROUNDING)


def test_a_seed_repeats_its_response_and_another_gives_another() -> None:
    engine = engine_of(tiny_qwen2())
    same = engine.generate([Request((5, 6), 20, 7)] * 2 + [Request((5, 6), 20, 8)], Sampling())
    assert same[0].token_ids == same[1].token_ids != same[2].token_ids
    assert engine.generate([Request((5, 6), 20, 7)], Sampling())[0].token_ids == same[0].token_ids


def test_a_model_that_names_no_end_token_is_refused() -> None:
    model = tiny_qwen2()
    model.generation_config.eos_token_id = None
    with pytest.raises(MistakeError, match="names no eos_token_id"):
        engine_of(model)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_reported_log_probabilities_are_the_models_own(ending: PreTrainedModel, temperature: float) -> None:
    wanted = requests(14)
    completions = engine_of(ending, 8).generate(wanted, Sampling(temperature))
    learner = TokenLogprobs(tiny_qwen2())
    learner.causal_lm.load_state_dict(ending.state_dict())
    for request, completion in zip(wanted, completions, strict=True):
        tokens = torch.tensor([[*request.prompt_ids, *completion.token_ids]])
        mask = torch.arange(tokens.shape[1])[None] >= len(request.prompt_ids)
        expected = learner(tokens, mask, temperature)[0].tolist()
        assert completion.logprobs == pytest.approx(expected, abs=ROUNDING)


def test_every_request_has_its_own_limit(ending: PreTrainedModel) -> None:
    limits = [1, 16, 2, 7, 12, 3, 16, 5]
    wanted = [Request(PROMPTS[index % 7], limit, index) for index, limit in enumerate(limits)]
    longest = [Request(request.prompt_ids, 16, request.seed) for request in wanted]
    free = engine_of(ending).generate(longest, Sampling())
    for limit, completion, unlimited in zip(limits, engine_of(ending).generate(wanted, Sampling()), free, strict=True):
        assert completion.token_ids == unlimited.token_ids[:limit]
        assert completion.finish_reason == ("stop" if completion.token_ids[-1] in ENDS else "length")


def test_a_response_is_under_way_from_its_first_token_to_its_last(ending: PreTrainedModel) -> None:
    started = time.perf_counter()
    completions = engine_of(ending, 7).generate(requests(14), Sampling())
    whole = time.perf_counter() - started
    assert len({completion.start_seconds for completion in completions}) == 2  # batches, one after the other
    for completion in completions:
        assert 0 < completion.start_seconds <= completion.end_seconds < whole
    for start in {completion.start_seconds for completion in completions}:
        batch = [completion for completion in completions if completion.start_seconds == start]
        by_end = sorted(batch, key=lambda completion: completion.end_seconds)
        assert [len(completion.token_ids) for completion in by_end] == sorted(len(c.token_ids) for c in batch)


def test_no_request_gives_no_completion() -> None:
    assert engine_of(tiny_qwen2()).generate([], Sampling()) == []


def test_completions_carry_the_version_of_the_weights_they_were_sampled_from() -> None:
    engine, other = engine_of(tiny_qwen2(seed=0)), tiny_qwen2(seed=1)
    versions = [engine.generate([Request((5,), 8, 0)], GREEDY)[0]]
    engine.load_weights(other.named_parameters(), policy_version=3)
    versions += engine.generate([Request((5,), 8, 0)], GREEDY)
    assert [completion.policy_version for completion in versions] == [0, 3]
    assert versions[1].token_ids == engine_of(other).generate([Request((5,), 8, 0)], GREEDY)[0].token_ids
    assert versions[0].token_ids != versions[1].token_ids


def test_weights_that_are_not_the_models_are_refused() -> None:
    engine, weights = engine_of(tiny_qwen2()), dict(tiny_qwen2(seed=1).named_parameters())
    name = "model.layers.1.mlp.up_proj.weight"
    lacking = [item for item in weights.items() if item[0] != name]
    with pytest.raises(ValueError, match=f"1 weights were not sent to the sampler, first {name}"):
        engine.load_weights(lacking, 1)
    with pytest.raises(ValueError, match="weight other of shape"):
        engine.load_weights([*weights.items(), ("other", torch.zeros(2))], 1)
    with pytest.raises(ValueError, match=name):
        engine.load_weights([*lacking, (name, weights[name].T)], 1)
    with pytest.raises(ValueError, match=r"weight model\.norm\.weight"):
        engine.load_weights([*weights.items(), ("model.norm.weight", weights["model.norm.weight"])], 1)


def test_the_fingerprint_tells_changed_permuted_and_stale_weights_from_the_learners() -> None:
    learner = tiny_qwen2(seed=1)
    engine = engine_of(tiny_qwen2(seed=0))
    expected = {name: tensor_fingerprint(parameter) for name, parameter in learner.named_parameters()}
    with pytest.raises(GuardStop):
        require_equal(expected, engine.fingerprint(), policy_version=1)  # stale: never synchronised
    engine.load_weights(learner.named_parameters(), 1)
    require_equal(expected, engine.fingerprint(), policy_version=1)

    name = "model.layers.0.mlp.up_proj.weight"
    changed, permuted = dict(learner.named_parameters()), dict(learner.named_parameters())
    changed[name] = changed[name].detach().clone()
    changed[name][3, 4] += 1e-6
    permuted[name] = permuted[name].detach().roll(1, 0)
    for weights in (changed, permuted):
        engine.load_weights(weights.items(), 2)
        with pytest.raises(GuardStop, match=f"1 of .* first {name}"):
            require_equal(expected, engine.fingerprint(), policy_version=2)


def test_a_vocabulary_is_drawn_from_as_the_model_says() -> None:
    model, draws = tiny_qwen2(), 4000
    with torch.no_grad():
        expected = (model(torch.tensor([[5, 6, 7]])).logits[0, -1] / 0.7).softmax(-1)
    completions = engine_of(model, draws).generate(
        [Request((5, 6, 7), 1, seed) for seed in range(draws)], Sampling(0.7)
    )
    tokens = torch.tensor([completion.token_ids[0] for completion in completions])
    frequencies = torch.bincount(tokens, minlength=VOCABULARY) / draws
    assert float(((frequencies - expected) ** 2 / expected).sum() * draws) < 100  # chi square, 52 degrees of freedom
