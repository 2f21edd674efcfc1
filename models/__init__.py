"""The numerical library: online alternating minimisation and its baselines.

Torch only; no I/O, clock, environment or global RNG.
"""

from models.am_mem import AMMem, AMMemHyperparameters, AMMemState
from models.backprop import Adam, BackpropHyperparameters, Sgd
from models.device import choose_device
from models.errors import ArgumentError
from models.labels import LABEL_TYPES, Label, LabelIndex, UnknownLabel
from models.learner import LEARNERS, Learner, create_learner
from models.network import Architecture
from models.predictor import Predictor
from models.scaling import FixedScale, InputScale, NoScale, PooledScale, RunningScale

__all__ = [
    "LABEL_TYPES",
    "LEARNERS",
    "AMMem",
    "AMMemHyperparameters",
    "AMMemState",
    "Adam",
    "Architecture",
    "ArgumentError",
    "BackpropHyperparameters",
    "FixedScale",
    "InputScale",
    "Label",
    "LabelIndex",
    "Learner",
    "NoScale",
    "PooledScale",
    "Predictor",
    "RunningScale",
    "Sgd",
    "UnknownLabel",
    "choose_device",
    "create_learner",
]
