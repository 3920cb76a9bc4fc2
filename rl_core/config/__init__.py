"""The recipe's configuration: a module of defaults for each section, `recipe` the whole, `load` to read it."""

from rl_core.config.algorithm import AlgorithmConfig
from rl_core.config.data import DatasetConfig
from rl_core.config.embedded import EmbeddedConfig
from rl_core.config.evaluation import EvaluationConfig, ProtocolConfig
from rl_core.config.load import EMBEDDED_PRESET, check_config, dump_config, load_config, load_reevaluation
from rl_core.config.models import OptimizerConfig
from rl_core.config.pairs import PairsConfig
from rl_core.config.recipe import SFT, RecipeConfig, StageIndex
from rl_core.config.reevaluation import ReevaluationConfig
from rl_core.config.reward_model import RewardModelConfig
from rl_core.config.rollout import RolloutConfig
from rl_core.config.sft import SftConfig
from rl_core.config.stage import StageConfig

__all__ = [
    "EMBEDDED_PRESET",
    "SFT",
    "AlgorithmConfig",
    "DatasetConfig",
    "EmbeddedConfig",
    "EvaluationConfig",
    "OptimizerConfig",
    "PairsConfig",
    "ProtocolConfig",
    "RecipeConfig",
    "ReevaluationConfig",
    "RewardModelConfig",
    "RolloutConfig",
    "SftConfig",
    "StageConfig",
    "StageIndex",
    "check_config",
    "dump_config",
    "load_config",
    "load_reevaluation",
]
