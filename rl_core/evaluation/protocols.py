"""Protocols by name: how models are asked and marked, with the numbers of those who published them.

Plain values, which `rl_core.config.evaluation` checks. What a protocol leaves out has the default of the schema; where
it names no prompt, a model is asked as it was trained.
"""

from typing import Any

BOXED_SUFFIX = "{problem} Let's think step by step and output the final answer within \\boxed{}."

PROTOCOLS: dict[str, dict[str, Any]] = {
    # The evaluation of DeepScaleR: scripts/eval/eval_model.sh, the suffix of scripts/data/deepscaler_dataset.py and the
    # rule of deepscaler/rewards/math_reward.py, at 95ef74f.
    "paper": {
        "num_samples": 16,
        "temperature": 0.6,
        "top_p": 0.95,
        "max_new_tokens": 32768,
        "verifier": "deepscaler",
        "prompt_template": BOXED_SUFFIX,
    },
    # NeMo RL: docs/guides/grpo-deepscaler.md, examples/configs/evals/eval.yaml and examples/prompts/cot.txt, at
    # 7ea279abf, with the 16 samples of its table. Its own limit counts the prompt too. The file of its prompt writes
    # two backslashes before `boxed`, and so asks for `\\boxed`: a slip that is not repeated here.
    "nemo": {
        "num_samples": 16,
        "temperature": 1.0,
        "top_p": 1.0,
        "max_new_tokens": 32768,
        "seed": 42,
        "verifier": "math_verify",
        "prompt_template": "Think step-by-step to solve the following problem. Output your answer inside of \\boxed{} "
        "tags.:\n{problem}\n\nLet's think step-by-step",
    },
    # siiRL validates greedily: rollout.val_kwargs of siirl/client/config/ppo_dag_trainer.yaml at 66b8f39, the limit of
    # examples/ppo_trainer/run_qwen2_5-7b.sh, the prompt of examples/data_preprocess/deepscaler.py, and its last box
    # compared as a string.
    "siirl": {
        "num_samples": 1,
        "temperature": 0,
        "top_p": 1.0,
        "max_new_tokens": 4096,
        "verifier": "boxed",
        "prompt_template": "{problem} Let's think step by step and output the final within \\boxed{}.",
    },
    # SFT, reward model and PPO on Qwen2.5-Math-7B: eval.py of DestyWang/SFT-and-RL-on-Qwen2.5-Math-7B at 1f4637c. Its
    # prompts differ between its own stages, so that here a model is asked as it was trained.
    "sft_rm_ppo": {
        "num_samples": 5,
        "temperature": 0.7,
        "top_p": 0.95,
        "max_new_tokens": 1024,
        "verifier": "boxed",
    },
}
