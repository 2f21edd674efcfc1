"""The numerical library: online alternating minimisation and its baselines.

Torch only; no I/O, clock, environment or global RNG.
"""

from models.admm import ADMMHyperparameters, TaylorADMM
from models.am_local import AMAdam, AMLocalHyperparameters, AMSgd
from models.am_mem import AMMem, AMMemHyperparameters
from models.anchored import AnchoredAMMem
from models.anchored_hyperparameters import AnchoredHyperparameters, NeverForgetHyperparameters
from models.backprop import AdamBackprop, BackpropHyperparameters, SgdBackprop
from models.device import choose_device
from models.difference_target import DifferenceTarget, DifferenceTargetHyperparameters
from models.errors import ArgumentError
from models.fit import fit
from models.labels import LABEL_TYPES, Label, LabelIndex, UnknownLabel
from models.learner import LEARNERS, Learner, create_learner
from models.network import Architecture, ConvolutionalNet, ElmanNet, Filters, Net, patch_net
from models.predictor import Predictor
from models.refit import refit_top
from models.scaling import FixedScale, InputScale, NoScale, PooledScale, RunningScale

__all__ = [
    "LABEL_TYPES",
    "LEARNERS",
    "ADMMHyperparameters",
    "AMAdam",
    "AMLocalHyperparameters",
    "AMMem",
    "AMMemHyperparameters",
    "AMSgd",
    "AdamBackprop",
    "AnchoredAMMem",
    "AnchoredHyperparameters",
    "Architecture",
    "ArgumentError",
    "BackpropHyperparameters",
    "ConvolutionalNet",
    "DifferenceTarget",
    "DifferenceTargetHyperparameters",
    "ElmanNet",
    "Filters",
    "FixedScale",
    "InputScale",
    "Label",
    "LabelIndex",
    "Learner",
    "Net",
    "NeverForgetHyperparameters",
    "NoScale",
    "PooledScale",
    "Predictor",
    "RunningScale",
    "SgdBackprop",
    "TaylorADMM",
    "UnknownLabel",
    "choose_device",
    "create_learner",
    "fit",
    "patch_net",
    "refit_top",
]
