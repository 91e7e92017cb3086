"""Experiments as frozen, validated models that are read from and written to TOML."""

from nfkd.config.base import Config
from nfkd.config.data import DataConfig, DigitsConfig, TwoMoonsConfig
from nfkd.config.distillation import TERMS, DistillationConfig
from nfkd.config.experiment import ExperimentConfig
from nfkd.config.flows import FlowConfig, Glow1DConfig, GlowConfig
from nfkd.config.matching import MatchedPair, MatchingConfig
from nfkd.config.monitor import MonitorConfig
from nfkd.config.pool import PoolConfig
from nfkd.config.presets import preset_names, preset_path, resource_path
from nfkd.config.problems import ConfigError, ConfigProblem
from nfkd.config.terms import ILKDConfig, LKDConfig, NLLConfig, SKDConfig, TermConfig
from nfkd.config.training import WEIGHT_DECAYS, ComputeConfig, SeedsConfig, TrainingConfig

__all__ = [
    "TERMS",
    "WEIGHT_DECAYS",
    "ComputeConfig",
    "Config",
    "ConfigError",
    "ConfigProblem",
    "DataConfig",
    "DigitsConfig",
    "DistillationConfig",
    "ExperimentConfig",
    "FlowConfig",
    "Glow1DConfig",
    "GlowConfig",
    "ILKDConfig",
    "LKDConfig",
    "MatchedPair",
    "MatchingConfig",
    "MonitorConfig",
    "NLLConfig",
    "PoolConfig",
    "SKDConfig",
    "SeedsConfig",
    "TermConfig",
    "TrainingConfig",
    "TwoMoonsConfig",
    "preset_names",
    "preset_path",
    "resource_path",
]
