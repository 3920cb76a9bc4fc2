"""The papers' formulas in plain Python, one number at a time: what the tensors' versions are compared with.

Where a formula holds something fixed, sg(...), the oracle takes it from `frozen`, the policy's log-probabilities at the
point where the gradient is asked for. So the derivative of the oracle by `policy` alone is the formula's gradient.
"""

import math
from collections.abc import Callable, Sequence
from statistics import mean, stdev

Numbers = Sequence[float]


def group_advantages(groups: Sequence[Numbers], baseline: str, scale: str, cap: float = 3.0) -> list[list[float]]:
    """Every combination of baseline and scale; NaN is unscored."""
    scored = [[reward for reward in group if not math.isnan(reward)] for group in groups]
    informative = sum(len(set(group)) > 1 for group in scored)
    weight = min(cap, len(groups) / informative) if informative else 1.0
    result = []
    for group in groups:
        advantages = []
        for position, reward in enumerate(group):
            others = [r for p, r in enumerate(group) if p != position and not math.isnan(r)]
            every = [r for r in group if not math.isnan(r)]
            if math.isnan(reward) or (baseline != "none" and len(set(every)) < 2):
                advantages.append(0.0)
                continue
            centre = {"none": 0.0, "group_mean": mean(every), "leave_one_out": mean(others) if others else 0.0}[
                baseline
            ]
            spread = {"group_std": every, "leave_one_out_std": others}.get(scale, [])
            divisor = stdev(spread) if len(set(spread)) > 1 else 1.0
            advantages.append((reward - centre) / divisor * (weight if scale == "informative_share" else 1.0))
        result.append(advantages)
    return result


def discounted(rewards: Numbers, discount: float) -> list[float]:
    """Reward-to-go of one response, as a sum over what follows."""
    return [sum(discount ** (k - t) * rewards[k] for k in range(t, len(rewards))) for t in range(len(rewards))]


def gae(rewards: Numbers, values: Numbers, discount: float, gae_lambda: float) -> list[float]:
    """Of one response: the sum of (gamma lambda)^l delta, written out."""
    following = [*values[1:], 0.0]
    deltas = [r + discount * after - v for r, v, after in zip(rewards, values, following, strict=True)]
    return discounted(deltas, discount * gae_lambda)


def clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def clipped_surrogate(
    policy: Numbers,
    frozen: Numbers,
    old: Numbers,
    advantages: Numbers,
    low: float,
    high: float,
    dual: float | None = None,
) -> list[float]:
    """PPO's, with dual clip."""
    return [
        surrogate_of_ratio(math.exp(p - o), a, low, high, dual) for p, o, a in zip(policy, old, advantages, strict=True)
    ]


def surrogate_of_ratio(ratio: float, advantage: float, low: float, high: float, dual: float | None) -> float:
    gain = min(ratio * advantage, clip(ratio, 1 - low, 1 + high) * advantage)
    return -max(gain, dual * advantage) if dual is not None and advantage < 0 else -gain


def gspo(
    policy: Numbers,
    frozen: Numbers,
    old: Numbers,
    advantages: Numbers,
    low: float,
    high: float,
    dual: float | None = None,
) -> list[float]:
    """GSPO-token, of one response."""
    sequence = math.exp(sum(f - o for f, o in zip(frozen, old, strict=True)) / len(policy))
    return [
        surrogate_of_ratio(sequence * math.exp(p - f), a, low, high, dual)
        for p, f, a in zip(policy, frozen, advantages, strict=True)
    ]


def gspo_of_response(policy: Numbers, old: Numbers, advantage: float, low: float, high: float) -> float:
    """GSPO itself: one number for a response."""
    sequence = math.exp(sum(p - o for p, o in zip(policy, old, strict=True)) / len(policy))
    return surrogate_of_ratio(sequence, advantage, low, high, None)


def policy_gradient(policy: Numbers, frozen: Numbers, old: Numbers, advantages: Numbers) -> list[float]:
    return [-a * p for p, a in zip(policy, advantages, strict=True)]


def cispo(policy: Numbers, frozen: Numbers, old: Numbers, advantages: Numbers, low: float, high: float) -> list[float]:
    return [
        -clip(math.exp(f - o), 1 - low, 1 + high) * a * p
        for p, f, o, a in zip(policy, frozen, old, advantages, strict=True)
    ]


def cpgd(
    policy: Numbers,
    frozen: Numbers,
    old: Numbers,
    advantages: Numbers,
    low: Numbers,
    high: Numbers,
    coefficient: float = 0.0,
    max_drift: float = 2.0,
) -> list[float]:
    """CPGD's two terms, with bounds for each token."""
    losses = []
    for p, f, o, a, lo, hi in zip(policy, frozen, old, advantages, low, high, strict=True):
        phi = min((p - o) * a, clip(p - o, math.log(1 - lo), math.log(1 + hi)) * a)
        drift = min(math.exp(f - o) - 1, max_drift) * p
        losses.append(-(phi - coefficient * drift))
    return losses


def divergence(policy: float, reference: float, estimator: str) -> float:
    """Schulman's k1, k2 and k3 as ratios r = reference / policy, within NeMo RL's bounds."""
    log_r = clip(reference - policy, -20, 20)
    value = {"k1": -log_r, "k2": log_r**2 / 2, "k3": math.expm1(log_r) - log_r}[estimator]
    return clip(value, -10, 10)


def weights(prompts: Sequence[Sequence[int]], aggregation: str, normalizer_tokens: float) -> list[list[float]]:
    """What a token of each response of each prompt weighs, where a prompt is the lengths of its responses."""
    lengths = [length for prompt in prompts for length in prompt]
    of: dict[str, Callable[[Sequence[int], int], float]] = {
        "token_mean": lambda prompt, length: 1 / sum(lengths),
        "sequence_mean_token_mean": lambda prompt, length: 1 / len(lengths) / length,
        "sequence_mean_token_sum": lambda prompt, length: 1 / len(lengths),
        "sequence_mean_token_sum_norm": lambda prompt, length: 1 / len(lengths) / normalizer_tokens,
        "prompt_mean_token_mean": lambda prompt, length: 1 / len(prompts) / sum(prompt),
    }
    return [[of[aggregation](prompt, length) for length in prompt] for prompt in prompts]


def slopes(function: Callable[[list[float]], float], at: Numbers, step: float = 1e-6) -> list[float]:
    """The derivative by each argument, by central differences."""
    result = []
    for index in range(len(at)):
        above, below = list(at), list(at)
        above[index] += step
        below[index] -= step
        result.append((function(above) - function(below)) / (2 * step))
    return result
