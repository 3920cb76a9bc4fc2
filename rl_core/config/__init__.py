"""The recipe's configuration: `sections` hold the defaults, `recipe` the whole, `load` reads and explains."""

from rl_core.config.algorithm import AlgorithmConfig
from rl_core.config.load import EMBEDDED_PRESET, check_config, dump_config, load_config
from rl_core.config.recipe import RecipeConfig
from rl_core.config.sections import (
    DatasetConfig,
    EmbeddedConfig,
    EvaluationConfig,
    OptimizerConfig,
    ProtocolConfig,
    RolloutConfig,
    StageConfig,
)

__all__ = [
    "EMBEDDED_PRESET",
    "AlgorithmConfig",
    "DatasetConfig",
    "EmbeddedConfig",
    "EvaluationConfig",
    "OptimizerConfig",
    "ProtocolConfig",
    "RecipeConfig",
    "RolloutConfig",
    "StageConfig",
    "check_config",
    "dump_config",
    "load_config",
]
