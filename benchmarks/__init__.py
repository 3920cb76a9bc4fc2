"""How fast parts of the project are. Its commands are `python -m benchmarks.<name>`; README.md says which there are."""

import warnings

from rl_core.environment import prepare_environment

prepare_environment()  # before any module here imports torch: measured is what a run would do
# As the stages do: vLLM and torch's collectives warn of their own older names.
warnings.filterwarnings("ignore", module=r"(vllm|torch\.distributed)\b.*")
