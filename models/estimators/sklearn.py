"""Learners as scikit-learn estimators, for `fit` on data at hand and `partial_fit` on streams. Needs the extra `sklearn`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from models.anchored_hyperparameters import AnchoredHyperparameters
from models.errors import ArgumentError
from models.estimators.construction import checked_count, is_integer, new_learner
from models.estimators.double_precision import predictions
from models.learner import LEARNERS, Learner
from models.target_scale import TargetScale


class _AMEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """What classifier and regressor share: parameters, blocks, and a learner in `learner_`."""

    learner_: Learner

    def __init__(
        self,
        hidden: Any = (100,),
        learner: Any = "am-mem",
        *,
        activation: Any = "relu",
        hyperparameters: Any = None,
        scale: Any = "running",
        block_size: Any = 32,
        epochs: Any = None,
        random_state: Any = 0,
        device: Any = "cpu",
    ) -> None:
        self.hidden = hidden
        self.learner = learner
        self.activation = activation
        self.hyperparameters = hyperparameters
        self.scale = scale
        self.block_size = block_size
        self.epochs = epochs
        self.random_state = random_state
        self.device = device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _checked(self, *data: Any, reset: bool, **of_y: Any) -> Any:
        """X, or X and y, as arrays; X may hold NaN."""
        return validate_data(
            self, *data, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan", **of_y
        )

    def _weights(self, sample_weight: Any, X: Any, *, may_be_zero: bool) -> Tensor | None:
        if sample_weight is None:
            return None
        checked = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True, allow_all_zero_weights=may_be_zero
        )
        return _tensor(checked)

    def _start(self, outputs: int, loss_name: str) -> None:
        if not (is_integer(self.random_state) and self.random_state >= 0):
            seed = check_random_state(self.random_state).randint(2**31 - 1)
        else:
            seed = int(self.random_state)
        self.learner_ = new_learner(
            inputs=self.n_features_in_,
            outputs=outputs,
            loss_name=loss_name,
            hidden=self.hidden,
            activation=self.activation,
            learner=self.learner,
            hyperparameters=self.hyperparameters,
            scale=self.scale,
            seed=seed,
            device=self.device,
        )

    def _fit_blocks(self, x: Tensor, y: Tensor, w: Tensor | None) -> None:
        """All epochs, each in its own order."""
        usual = 1 if issubclass(LEARNERS[self.learner][0], AnchoredHyperparameters) else 10
        epochs = usual if self.epochs is None else checked_count("epochs", self.epochs)
        size = checked_count("block_size", self.block_size)
        draw = check_random_state(self.random_state)
        for _ in range(epochs):
            order = torch.from_numpy(draw.permutation(len(x)))
            for rows in torch.split(order, size):
                self._step(x[rows], y[rows], None if w is None else w[rows])
            self.learner_.end_epoch()

    def _blocks(self, x: Tensor, y: Tensor, w: Tensor | None) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """In the order given."""
        size = checked_count("block_size", self.block_size)
        weights = [None] * -(-len(x) // size) if w is None else torch.split(w, size)
        yield from zip(torch.split(x, size), torch.split(y, size), weights, strict=True)

    def _step(self, x: Tensor, y: Tensor, w: Tensor | None) -> None:
        if not self.learner_.learn(x, y, w):
            largest = {name: float(t.nan_to_num().abs().max()) for name, t in (("X", x), ("y", y))}
            raise ValueError(
                "X and y must be of sizes with which an update stays finite; a block of them was discarded whole, "
                f"its largest values are X: {largest['X']:g} and y: {largest['y']:g}"
            )

    def _outputs(self, X: Any) -> Tensor:
        check_is_fitted(self, "learner_")
        return predictions(self.learner_.predictor(), _tensor(self._checked(X, reset=False)))


class AMClassifier(ClassifierMixin, _AMEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A fully connected net for classes, learned block by block without backpropagation (or, as a baseline, with it).

    Args:
        hidden: sizes of the hidden layers, at least one.
        learner: a name in `models.LEARNERS`.
        activation: name of σ for all hidden layers, or one name a layer.
        hyperparameters: of the learner, a dict; None for its defaults.
        scale: of inputs: `running`, `pooled`, `none`, or a `models.FixedScale`.
        block_size: samples a learning step, in `fit` and `partial_fit`; a rest makes a smaller last block.
        epochs: passes over the data in `fit`, each in its own random order. None: 1 for am-mem and never-forget, to whose
            memories a sample learned again is another sample; 10 for the others.
        random_state: of the initial weights and of `fit`'s order; an integer is the learner's seed. Only None draws from
            numpy's global generator.
        device: `auto`, `cpu` or `cuda`.
    Attributes: learner_: the learner; classes_: (m,), sorted; n_features_in_, feature_names_in_: as everywhere.

    NaN is a missing value and counts as its feature's mean. Sample weights multiply losses and memory terms; time (block
    means, schedules, horizons) counts samples, so that a weight of 2 is not the same as a sample repeated. Predictions are
    computed in float64 from the float32 weights.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> bool(AMClassifier(block_size=8).fit(X, y).score(X, y) > 0.9)
    True
    """

    classes_: Any

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Forgets, then learns X (n, N) and y (n,) in `epochs` passes. sample_weight: (n,), non-negative.

        Raises: ValueError, naming what does not fit; ArgumentError, naming the parameter and its value.
        """
        X, y = self._checked(X, y, reset=True)
        check_classification_targets(y)
        w = self._weights(sample_weight, X, may_be_zero=False)
        self.classes_, indices = np.unique(y, return_inverse=True)
        self._start(len(self.classes_), "multinomial")
        self._fit_blocks(_tensor(X), torch.from_numpy(indices), w)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Learns X (n, N) and y (n,) in their order, once, block by block.

        Args: classes: all that will ever come, required at the first call; sample_weight: (n,), non-negative.
        Raises: ValueError, naming what does not fit; ArgumentError, naming the parameter and its value.
        """
        first = not hasattr(self, "learner_")
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit")
        X, y = self._checked(X, y, reset=first)
        check_classification_targets(y)
        w = self._weights(sample_weight, X, may_be_zero=True)
        declared = self.classes_ if classes is None else unique_labels(classes)
        if not first and not np.array_equal(declared, self.classes_):
            raise ArgumentError("classes", f"those of the first call, {self.classes_.tolist()}", list(classes))
        unknown = np.setdiff1d(y, declared)
        if len(unknown):
            raise ArgumentError("y", f"of the classes {declared.tolist()}", unknown[0].item())
        indices = np.searchsorted(declared, y)
        if first:
            self.classes_ = declared
            self._start(len(declared), "multinomial")
        for block in self._blocks(_tensor(X), torch.from_numpy(indices), w):
            self._step(*block)
        return self

    def predict_proba(self, X: Any) -> Any:
        """P(y | x) of X (n, N): (n, m) float64, in the order of `classes_`."""
        return self._outputs(X).numpy()

    def predict(self, X: Any) -> Any:
        """The most probable class of each row of X (n, N): (n,)."""
        most_probable = self.predict_proba(X).argmax(axis=1)
        return self.classes_[most_probable]


class AMRegressor(RegressorMixin, _AMEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A fully connected net for values, learned block by block under the squared loss.

    Targets are standardised by their moments, see `target_scale_`: in `fit` by those of all of y, in `partial_fit` by running
    ones, which go on from `fit`'s; where they move, the top layer is carried along, so that moving changes no prediction.
    A target is clipped to ten deviations. η of AM-mem is, unless given, 1/(4·(units of the last hidden layer + 1)).

    Args: as of `AMClassifier`.
    Attributes: learner_: the learner, whose outputs are standardised; target_scale_; n_features_in_, feature_names_in_.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> bool(AMRegressor().fit(X, y).score(X, y) > 0.4)
    True
    """

    target_scale_: TargetScale

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Forgets, then learns X (n, N) and y (n,) in `epochs` passes. sample_weight: (n,), non-negative.

        Raises: ValueError, naming what does not fit; ArgumentError, naming the parameter and its value.
        """
        X, y = self._checked(X, y, reset=True, y_numeric=True)
        w = self._weights(sample_weight, X, may_be_zero=False)
        targets = _column(y)
        self._start(1, "squared")
        self.target_scale_ = TargetScale.unknown(1).with_block(targets, torch.ones(len(y)) if w is None else w)
        self._fit_blocks(_tensor(X), self.target_scale_.standardised(targets), w)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learns X (n, N) and y (n,) in their order, once, block by block. sample_weight: (n,), non-negative.

        Raises: ValueError, naming what does not fit; ArgumentError, naming the parameter and its value.
        """
        first = not hasattr(self, "learner_")
        X, y = self._checked(X, y, reset=first, y_numeric=True)
        w = self._weights(sample_weight, X, may_be_zero=True)
        if first:
            self._start(1, "squared")
            self.target_scale_ = TargetScale.unknown(1)
        for x, targets, weight in self._blocks(_tensor(X), _column(y), w):
            before = self.learner_.state_dict()
            moved = self.target_scale_.with_block(targets, torch.ones(len(x)) if weight is None else weight)
            moved.carry(self.learner_, self.target_scale_)
            try:
                self._step(x, moved.standardised(targets), weight)
            except ValueError:
                self.learner_.load_state_dict(before)
                raise
            self.target_scale_ = moved
        return self

    def predict(self, X: Any) -> Any:
        """A value for each row of X (n, N): (n,) float64."""
        outputs = self._outputs(X)
        return self.target_scale_.restored(outputs).squeeze(1).numpy()


def _tensor(array: Any) -> Tensor:
    """A copy: what scikit-learn hands over may be read-only, of another byte order or of negative strides."""
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _column(y: Any) -> Tensor:
    return _tensor(np.asarray(y, dtype=np.float64)).unsqueeze(1)
