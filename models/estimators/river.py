"""Learners as river estimators: one sample or one mini-batch a step, features and classes that come and go.

Needs the extra `river`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from river import base, utils
from torch import Tensor

from models.errors import ArgumentError
from models.estimators.construction import new_learner
from models.estimators.double_precision import predictions
from models.growth import grown_state
from models.learner import Learner
from models.target_scale import TargetScale

Values = Mapping[Hashable, np.ndarray[Any, Any]]
"""Feature → its values in a block, (n,) float64, NaN for a missing one."""


class _Growing(base.Estimator):
    """What classifier and regressor share: features as columns, and a learner that grows with them.

    A feature becomes a column when it first appears; features that appear together in the order of their names, so that
    the order of a dict does not matter.
    """

    _loss_name: str

    def __init__(
        self,
        hidden: tuple[int, ...] = (100,),
        learner: str = "am-adam",
        *,
        activation: str | tuple[str, ...] = "relu",
        hyperparameters: dict[str, Any] | None = None,
        scale: Any = "running",
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.hidden = hidden
        self.learner = learner
        self.activation = activation
        self.hyperparameters = hyperparameters
        self.scale = scale
        self.seed = seed
        self.device = device
        self._columns: dict[Hashable, int] = {}
        self._net: Learner | None = None
        self._shape = (0, 0)
        self._created(1, 1)  # raises for parameters out of range

    def _created(self, inputs: int, outputs: int) -> Learner:
        # A net that grows keeps what its first size decided where a hyper-parameter left it open.
        decided = self.hyperparameters if self._net is None else vars(self._net.hyperparameters)
        return new_learner(
            inputs=inputs,
            outputs=outputs,
            loss_name=self._loss_name,
            hidden=self.hidden,
            activation=self.activation,
            learner=self.learner,
            hyperparameters=decided,
            scale=self.scale,
            seed=self.seed,
            device=self.device,
        )

    def _grown(self, values: Values, outputs: int) -> Learner:
        """The learner, with a column for every feature and so many outputs."""
        new = sorted(values.keys() - self._columns.keys(), key=lambda name: (type(name).__name__, str(name)))
        self._columns |= {name: column for column, name in enumerate(new, start=len(self._columns))}
        shape = (self._width, outputs)
        if self._net is None:
            self._net = self._created(*shape)
        elif shape != self._shape:
            larger = self._created(*shape)
            larger.load_state_dict(grown_state(self._net.state_dict(), larger.state_dict()))
            self._net = larger
        self._shape = shape
        return self._net

    @property
    def _width(self) -> int:
        """Number of columns; one that nothing fills where a stream begins with samples that have no feature at all."""
        return max(len(self._columns), 1)

    def _matrix(self, values: Values, n: int) -> Tensor:
        """x, (n, N): NaN where a feature is missing; features without a column are left out."""
        x = np.full((n, self._width), np.nan)
        for name, column in values.items():
            if name in self._columns:
                x[:, self._columns[name]] = column
        return torch.from_numpy(x)

    def _unit_test_skips(self) -> set[str]:
        # One step on a block is not a step on each of its samples; river's own linear models skip it for the same reason.
        return {"check_learn_many_matches_learn_one"}

    def learn_one(self, x: dict[base.typing.FeatureName, Any], y: Any) -> None:
        """One step on one sample. Raises: ArgumentError naming the feature and its value, ValueError."""
        self._learn(_values_of(x), [y])

    def learn_many(self, X: Any, y: Any) -> None:
        """One step on one block. X: a data frame of any library that narwhals knows; y: a series, or any iterable."""
        self._learn(_values_of_frame(X), _list(y))

    def _learn(self, values: Values, targets: list[Any]) -> None:
        """One step on one block; nothing where there is none."""
        raise NotImplementedError

    def _predictions(self, values: Values, n: int) -> Tensor | None:
        """(n, m) float64; None before anything was learned."""
        return None if self._net is None else predictions(self._net.predictor(), self._matrix(values, n))


class RiverAMClassifier(_Growing, base.MiniBatchClassifier):
    """A fully connected net for classes, learned online without backpropagation (or, as a baseline, with it).

    A feature that a sample lacks counts as its mean; a new one widens the input, a new label widens the output, and
    neither changes a prediction until it is learned (see `models.growth`). A call's samples are one block, one step. The
    default is AM-Adam because the paper's AM-mem is weak at blocks of one sample: 0.893 against 0.870 on river's Phishing.

    Parameters
    ----------
    hidden
        Sizes of the hidden layers, at least one.
    learner
        A name in `models.LEARNERS`.
    activation
        Name of σ for all hidden layers, or one name a layer.
    hyperparameters
        Of the learner; None for its defaults.
    scale
        Of inputs: `running`, `pooled`, `none`, or a `models.FixedScale` that is the same for all features.
    seed
        Of the initial weights; learning draws no random numbers.
    device
        `auto`, `cpu` or `cuda`.

    Examples
    --------
    >>> from river import datasets, evaluate, metrics
    >>> model = RiverAMClassifier(hidden=(20,), learner="am-adam")
    >>> metric = evaluate.progressive_val_score(datasets.Phishing().take(300), model, metrics.Accuracy())
    >>> metric.get() > 0.7
    True

    """

    _loss_name = "multinomial"

    def __init__(
        self,
        hidden: tuple[int, ...] = (100,),
        learner: str = "am-adam",
        *,
        activation: str | tuple[str, ...] = "relu",
        hyperparameters: dict[str, Any] | None = None,
        scale: Any = "running",
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            hidden,
            learner,
            activation=activation,
            hyperparameters=hyperparameters,
            scale=scale,
            seed=seed,
            device=device,
        )
        self._classes: dict[base.typing.ClfTarget, int] = {}

    @property
    def _multiclass(self) -> bool:
        return True

    def _learn(self, values: Values, targets: list[base.typing.ClfTarget]) -> None:
        if not targets:
            return
        for label in targets:
            self._classes.setdefault(label, len(self._classes))
        net = self._grown(values, len(self._classes))
        indices = torch.tensor([self._classes[label] for label in targets])
        if not net.learn(self._matrix(values, len(targets)), indices):
            raise ArgumentError("x", "of a size with which an update stays finite", _largest(values))

    def predict_proba_one(
        self, x: dict[base.typing.FeatureName, Any], **kwargs: Any
    ) -> dict[base.typing.ClfTarget, float]:
        """Label → probability, of all labels seen so far; {} before the first."""
        found = self._predictions(_values_of(x), 1)
        return {} if found is None else dict(zip(self._classes, found[0].tolist(), strict=True))

    def predict_proba_many(self, X: Any) -> Any:
        """A frame like X, one column a label; without columns before anything was learned."""
        frame = utils.dataframe.into_frame(X)
        found = self._predictions(_values_of_frame(X), len(frame))
        columns = {} if found is None else dict(zip(self._classes, found.numpy().T, strict=True))
        return utils.dataframe.to_native_frame(columns, like=frame)

    def predict_many(self, X: Any) -> Any:
        """A series like X's columns, of labels; of None before anything was learned."""
        frame = utils.dataframe.into_frame(X)
        found = self._predictions(_values_of_frame(X), len(frame))
        names = list(self._classes)
        labels = [None] * len(frame) if found is None else [names[i] for i in found.argmax(dim=1).tolist()]
        return utils.dataframe.to_native_series(labels, name="y", like=frame)


class RiverAMRegressor(_Growing, base.MiniBatchRegressor):
    """A fully connected net for values, learned online under the squared loss.

    Features come and go as in `RiverAMClassifier`. Targets are standardised by their running moments, clipped to ten
    deviations, and the top layer is carried along where the moments move (see `models.target_scale`). η of AM-mem
    is, unless given, 1/(4·(units of the last hidden layer + 1)).

    Parameters
    ----------
    hidden
        Sizes of the hidden layers, at least one.
    learner
        A name in `models.LEARNERS`.
    activation
        Name of σ for all hidden layers, or one name a layer.
    hyperparameters
        Of the learner; None for its defaults.
    scale
        Of inputs: `running`, `pooled`, `none`, or a `models.FixedScale` that is the same for all features.
    seed
        Of the initial weights; learning draws no random numbers.
    device
        `auto`, `cpu` or `cuda`.

    Examples
    --------
    >>> model = RiverAMRegressor(hidden=(10,))
    >>> for i in range(200):
    ...     model.learn_one({"a": i % 7, "b": i % 3}, 100.0 + 5 * (i % 7))
    >>> 115 < model.predict_one({"a": 6, "b": 1}) < 145
    True

    """

    _loss_name = "squared"

    def __init__(
        self,
        hidden: tuple[int, ...] = (100,),
        learner: str = "am-adam",
        *,
        activation: str | tuple[str, ...] = "relu",
        hyperparameters: dict[str, Any] | None = None,
        scale: Any = "running",
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            hidden,
            learner,
            activation=activation,
            hyperparameters=hyperparameters,
            scale=scale,
            seed=seed,
            device=device,
        )
        self._targets = TargetScale.unknown(1)

    def _learn(self, values: Values, targets: list[base.typing.RegTarget]) -> None:
        if not targets:
            return
        y = torch.tensor([[_number("y", value)] for value in targets], dtype=torch.float64)
        if y.isnan().any():
            raise ArgumentError("y", "a number", targets[int(y.isnan().int().argmax())])
        net = self._grown(values, 1)
        before = net.state_dict()
        moved = self._targets.with_block(y, torch.ones(len(y)))
        moved.carry(net, self._targets)
        if not net.learn(self._matrix(values, len(y)), moved.standardised(y)):
            net.load_state_dict(before)
            raise ArgumentError("x", "of a size with which an update stays finite", _largest(values))
        self._targets = moved

    def predict_one(self, x: dict[base.typing.FeatureName, Any]) -> float:
        """0.0 before anything was learned."""
        found = self._predictions(_values_of(x), 1)
        return 0.0 if found is None else self._targets.restored(found).item()

    def predict_many(self, X: Any) -> Any:
        """A series like X's columns; of zeros before anything was learned."""
        frame = utils.dataframe.into_frame(X)
        found = self._predictions(_values_of_frame(X), len(frame))
        values = np.zeros(len(frame)) if found is None else self._targets.restored(found).squeeze(1).numpy()
        return utils.dataframe.to_native_series(values, name="y", like=frame)


def _values_of(x: Mapping[Hashable, Any]) -> Values:
    return {name: np.array([_number(f"feature {name!r}", value)]) for name, value in x.items()}


def _values_of_frame(X: Any) -> Values:
    frame = utils.dataframe.into_frame(X)
    matrix = utils.dataframe.to_numpy(frame)
    for name, column in zip(frame.columns, matrix.T, strict=True):
        if np.isinf(column).any():
            raise ArgumentError(f"feature {name!r}", "finite, or missing", column[np.isinf(column)][0].item())
    return dict(zip(frame.columns, matrix.T, strict=True))


def _number(what: str, value: Any) -> float:
    """None and NaN are missing. Raises: ArgumentError."""
    try:
        number = float("nan") if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise ArgumentError(what, "a number, or None where it is missing", value) from error
    if isinstance(value, str) or np.isinf(number):
        raise ArgumentError(what, "a finite number, or None where it is missing", value)
    return number


def _list(y: Any) -> list[Any]:
    """Of a series' own Python values, where it can make them."""
    as_list: Iterable[Any] = y.to_list() if hasattr(y, "to_list") else y
    return list(as_list)


def _largest(values: Values) -> float:
    return max((float(np.nanmax(np.abs(column))) for column in values.values()), default=0.0)
