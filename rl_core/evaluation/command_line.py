"""What `python -m rl_core evaluate` takes for a model that belongs to no run."""

import argparse
from pathlib import Path

MODEL, DATA = "--model-dir", "--data-name"
DEFAULT_OUTPUT = Path("evaluations")
# Of the command line, by the setting of the protocol that each one is.
OF_THE_PROTOCOL = {
    "protocol": "base",
    "max_new_tokens": "max_new_tokens",
    "num_samples": "num_samples",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "verifier": "verifier",
    "second_verifier": "second_verifier",
}


def add_options(command: argparse.ArgumentParser) -> None:
    """What `evaluate` takes beside the options of every stage. Underscores as in other evaluators' command lines."""
    group = command.add_argument_group("a model that is not part of a run (overrides as in a recipe)")
    group.add_argument(MODEL, "--model_dir", help="a Hugging Face folder, or a name on the hub")
    group.add_argument(DATA, "--data_name", help="a benchmark by name, or a json, jsonl or parquet file")
    group.add_argument("--protocol", help="paper, nemo, siirl or sft_rm_ppo (default: that of --config, else paper)")
    group.add_argument("--max-new-tokens", "--max_new_tokens", type=int)
    group.add_argument("--num-samples", "--num_samples", type=int)
    group.add_argument("--temperature", type=float)
    group.add_argument("--top-p", "--top_p", type=float)
    group.add_argument("--seed", type=int)
    group.add_argument("--verifier", help="boxed, deepscaler or math_verify")
    group.add_argument("--second-verifier", help="marks the same responses beside the first")
    group.add_argument("--output", type=Path, help=f"folder of results (default: {DEFAULT_OUTPUT})")
