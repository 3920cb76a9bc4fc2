"""How a policy learns from scored responses: credit, objective, divergence, aggregation, and what is trained on.

What two papers decide at once is two settings here, so that every combination has a name. docs/algorithms.md says
which settings make which published algorithm. Rules between sections are in `recipe`.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from rl_core.config.section import Section

CorrectionLevel = Literal["token", "sequence", "sequence_geometric_mean"]
Baseline = Literal["none", "group_mean", "leave_one_out", "critic"]
Scale = Literal["none", "group_std", "leave_one_out_std", "informative_share"]
Objective = Literal["clipped_surrogate", "policy_gradient", "cpgd", "gspo", "cispo"]
KlEstimator = Literal["k1", "k2", "k3", "k1+", "k3+"]
Aggregation = Literal[
    "token_mean",
    "sequence_mean_token_mean",
    "sequence_mean_token_sum",
    "sequence_mean_token_sum_norm",
    "prompt_mean_token_mean",
]

CLIPPED_IN_SEQUENCES = frozenset({"gspo"})  # objectives whose ratio is of a whole response


class CorrectionConfig(Section):
    """What to do about tokens that sampler and trainer give different probabilities; nothing by default.

    Both choices look at the ratio of the trainer's probability to the sampler's, of a token or of its whole response.
    """

    weight: CorrectionLevel | None = Field(None, description="the ratio that multiplies the surrogate; null: none")
    max_weight: float | None = Field(None, ge=1, description="truncates it (C of TIS); null: never")
    mask: CorrectionLevel | None = Field(None, description="the ratio that drops what is out of bounds; null: none")
    mask_low: float | None = Field(None, gt=0, lt=1)
    mask_high: float | None = Field(None, gt=1)

    @model_validator(mode="after")
    def _bounds_have_something_to_bound(self) -> Self:
        if self.weight is None and self.max_weight is not None:
            raise ValueError("max_weight does nothing without `weight`: token, sequence or sequence_geometric_mean")
        bounded = self.mask_low is not None or self.mask_high is not None
        if self.mask is None and bounded:
            raise ValueError("mask_low and mask_high do nothing without `mask`")
        if self.mask is not None and not bounded:
            raise ValueError("mask does nothing without a bound: give mask_low, mask_high or both")
        return self


class AlgorithmConfig(Section):
    """The algorithm of a stage; the defaults are GRPO."""

    baseline: Baseline = Field(
        "group_mean", description="what a reward is compared with; critic: a trained value model, by GAE"
    )
    scale: Scale = Field(
        "group_std",
        description="what the difference is divided by; informative_share: multiplied by prompts over prompts whose "
        "rewards differ (CPGD's clip_filter_like_weight)",
    )
    max_informative_weight: float = Field(3.0, ge=1, description="bound of scale: informative_share")
    whiten: bool = Field(False, description="advantages to mean 0 and variance 1 over all response tokens of a step")
    discount: float = Field(1.0, gt=0, le=1, description="gamma, by token")
    gae_lambda: float = Field(1.0, ge=0, le=1, description="lambda of baseline: critic; 1 is return minus value")

    objective: Objective = "clipped_surrogate"
    clip_low: float = Field(0.2, ge=0, le=1)
    clip_high: float = Field(0.2, ge=0)
    dual_clip: float | None = Field(None, gt=1, description="bound on the ratio where the advantage is negative")
    clip_tightness: float | None = Field(
        None, ge=0, le=1, description="cpgd: share of the bounds at a response's start, growing to all; null: all"
    )
    drift_coefficient: float = Field(0.0, ge=0, description="cpgd: of the policy drift (alpha)")
    max_drift: float = Field(2.0, gt=0, description="cpgd: bound on the drift's ratio - 1 in the gradient")

    kl_coefficient: float = Field(0.0, ge=0, description="of the divergence from the stage's first policy")
    kl_estimator: KlEstimator = Field("k3", description="k1+, k3+: that one's value with the gradient of k2")
    kl_in: Literal["loss", "reward"] = "loss"
    kl_target: float | None = Field(None, gt=0, description="the coefficient adapts to this divergence; null: fixed")
    kl_horizon: int = Field(10_000, ge=1, description="responses over which it adapts")
    entropy_coefficient: float = Field(0.0, ge=0)

    aggregation: Aggregation = "token_mean"
    old_logprobs: Literal["recompute", "sampler"] = Field(
        "recompute", description="the ratio's denominator: the trainer's own, or the sampler's without a pass for them"
    )
    minibatch_sequences: int = Field(64, ge=1, description="responses per optimizer update")
    epochs: int = Field(1, ge=1, description="passes over each batch of responses")

    overlong_filtering: bool = Field(
        False, description="responses cut off by the limit stay in their group's baseline and have no gradient"
    )
    dynamic_sampling: int | None = Field(
        None,
        ge=1,
        description="batches of problems drawn, at most, to fill a step with groups whose rewards differ; null: off",
    )
    correction: CorrectionConfig = Field(
        default_factory=CorrectionConfig,
        description="of the sampler's mismatch; a stage that gives one gives all of it",
    )

    @property
    def needs_reference(self) -> bool:
        """Whether the stage's first policy is asked for log-probabilities."""
        return self.kl_coefficient > 0

    @property
    def in_groups(self) -> bool:
        """Whether responses to one prompt are compared with each other."""
        return self.baseline in ("group_mean", "leave_one_out")

    @model_validator(mode="after")
    def _correction_has_two_policies_to_compare(self) -> Self:
        if self.old_logprobs == "sampler" and (self.correction.weight or self.correction.mask):
            raise ValueError(
                "correction does nothing with old_logprobs: sampler, whose ratio is of the sampler already: take one "
                "of the two"
            )
        return self

    @model_validator(mode="after")
    def _credit_fits_together(self) -> Self:
        if self.scale != "none" and not self.in_groups:
            raise ValueError(
                f"scale is {self.scale!r}, which is of a group: with baseline {self.baseline!r} it must be none "
                "(whiten scales over the step)"
            )
        if self.is_set("gae_lambda") and self.baseline != "critic":
            raise ValueError("gae_lambda does nothing without baseline: critic")
        if self.is_set("discount") and self.in_groups:
            raise ValueError(
                "discount does nothing with a group's baseline, which gives one advantage to all tokens of a response"
            )
        if self.is_set("max_informative_weight") and self.scale != "informative_share":
            raise ValueError("max_informative_weight does nothing without scale: informative_share")
        if self.dynamic_sampling is not None and not self.in_groups:
            raise ValueError("dynamic_sampling needs groups to choose from: baseline group_mean or leave_one_out")
        return self

    @model_validator(mode="after")
    def _objective_has_its_options(self) -> Self:
        if self.dual_clip is not None and self.objective not in ("clipped_surrogate", "gspo"):
            raise ValueError(f"dual_clip does nothing with objective {self.objective!r}")
        for name in ("clip_low", "clip_high"):
            if self.objective == "policy_gradient" and self.is_set(name):
                raise ValueError(f"{name} does nothing with objective 'policy_gradient', which has no ratio to clip")
        if self.is_set("max_drift") and self.objective == "cpgd" and self.drift_coefficient == 0:
            raise ValueError("max_drift does nothing without drift_coefficient")
        if self.objective == "cpgd" and self.clip_low == 1:
            raise ValueError("clip_low is 1: objective cpgd clips the log-ratio at ln(1 - clip_low); take less than 1")
        for name in ("clip_tightness", "drift_coefficient", "max_drift"):
            if self.objective != "cpgd" and self.is_set(name):
                raise ValueError(f"{name} does nothing without objective: cpgd")
        return self

    @model_validator(mode="after")
    def _divergence_has_its_options(self) -> Self:
        if self.kl_target is not None and self.kl_coefficient == 0:
            raise ValueError("kl_target: a coefficient of 0 cannot adapt: give kl_coefficient its first value")
        if self.is_set("kl_horizon") and self.kl_target is None:
            raise ValueError("kl_horizon does nothing without kl_target")
        if self.kl_in == "reward" and self.kl_estimator.endswith("+"):
            raise ValueError(
                f"kl_estimator is {self.kl_estimator!r}, which is about the gradient: in the reward take k1, k2 or k3"
            )
        return self
