"""What the service answers, and the spec that it is sent: the only place where the shapes of the HTTP API are typed."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, replace
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar

from amstream_client.errors import UnexpectedAnswer

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Resource = TypeVar("Resource", bound="DataclassInstance")

Label: TypeAlias = str | int | bool
Target: TypeAlias = Label | float | list[float]
"""What a sample's y is: a label, or for regression a value, a list where there are several targets."""
LabelType: TypeAlias = Literal["string", "integer", "boolean"]


class Block(TypedDict, total=False):
    size: int
    wait_ms: float


class Scale(TypedDict):
    mean: float | list[float]
    deviation: float | list[float]


class Spec(TypedDict, total=False):
    """What a model is made from; the service fills in what is left out, and answers the complete spec.

    `inputs` or `features` must be given, and for classification `classes` or `label_type`.
    """

    inputs: int
    features: list[str] | None
    task: Literal["classification", "regression"]
    targets: int | None
    classes: list[Label]
    max_classes: int | None
    label_type: LabelType | None
    hidden: list[int]
    activation: str
    image: list[int] | None
    learner: str
    hyperparameters: dict[str, Any]
    seed: int
    scale: Literal["running", "pooled", "none"] | Scale
    block: Block
    retain_s: float
    shadow_of: str | None


@dataclass(frozen=True)
class Model:
    name: str
    id: str
    spec: Spec
    created_at: str
    model_version: int
    applied_entry: str | None
    samples_learned: int
    entries_lag: int | None
    learner: str  # what it is doing: learning, none, or refused: and why
    dead_letters: int | None = None  # accepted entries that could not be learned
    in_force: dict[str, Any] | None = (
        None  # learner, net and hyper-parameters as they are now; of one model, not of a list
    )


@dataclass(frozen=True)
class DeadLetter:
    entry: str
    cause: str
    samples: int | None
    size_bytes: int


@dataclass(frozen=True)
class Accepted:
    """repeated: whether all of it had been accepted before, under the same Idempotency-Key."""

    entries: list[str]
    accepted: int
    repeated: bool = False


@dataclass(frozen=True)
class Prediction:
    label: Label
    probabilities: list[float]  # one per class
    classes: list[Label]
    model_version: int
    applied_entry: str | None


@dataclass(frozen=True)
class Predictions:
    labels: list[Label]
    probabilities: list[list[float]]  # one row per sample, one column per class
    classes: list[Label]
    model_version: int
    applied_entry: str | None
    ids: list[str] | None = None  # of tracked predictions, for the labels that come later


@dataclass(frozen=True)
class Values:
    """Of a regression, one value per sample, each a list where there are several targets."""

    values: list[float] | list[list[float]]
    model_version: int
    applied_entry: str | None
    ids: list[str] | None = None


@dataclass(frozen=True)
class Outcome:
    """The label that came, and the entry that holds it."""

    label: Target
    entry: str


@dataclass(frozen=True)
class Tracked:
    """A prediction as it was made; probabilities by class, or for regression values. outcome: None until a label came."""

    id: str
    x: list[float | None]
    classes: list[Label]
    probabilities: list[float] | None
    values: list[float] | None
    model_version: int
    applied_entry: str | None
    made_at: str
    outcome: Outcome | None


@dataclass(frozen=True)
class Labelled:
    """What became of a label. repeated: the same one had come; corrected: another one had."""

    id: str
    entry: str
    repeated: bool
    corrected: bool


@dataclass(frozen=True)
class Snapshot:
    name: str
    entry: str | None
    model_version: int
    samples_learned: int
    created_at: str
    size_bytes: int
    digest: str


@dataclass(frozen=True)
class Restored:
    snapshot: str
    entry: str | None
    model_version: int


@dataclass(frozen=True)
class Drifts:
    """Rises of the error. last: after how many samples the last one was, None before any."""

    count: int
    last: int | None


@dataclass(frozen=True)
class ClassFigures:
    """Of one class: how many of its samples were learned, and the share of them that was predicted right."""

    label: Label
    seen: int
    recall: float | None
    recent_recall: float | None


@dataclass(frozen=True)
class Retention:
    """How much is still known; recalls: one row for each period of so many samples, one column a class."""

    average_accuracy: float | None
    backward_transfer: float | None
    forgetting: float | None
    period: int
    recalls: list[list[float | None]]


@dataclass(frozen=True)
class ShadowFigures:
    """Of a model that is fed with the same samples: `recent` figures compare, `overall` ones begin where the shadow did."""

    name: str
    applied_entry: str | None
    samples_learned: int
    overall: dict[str, float | None]
    recent: dict[str, float | None]


@dataclass(frozen=True)
class Metrics:
    """Every sample was predicted before it was learned. `recent` figures forget with a horizon of so many samples.

    Classification: accuracy, kappa, log_loss, beside the accuracies no_change and majority. Regression: mae, rmse, r2,
    beside the absolute errors no_change and mean.
    """

    model_version: int
    applied_entry: str | None
    samples_learned: int
    horizon: float
    overall: dict[str, float | None]
    recent: dict[str, float | None]
    drifts: Drifts
    classes: list[ClassFigures]
    retention: Retention | None  # None for regression
    shadows: list[ShadowFigures]
    newest_time: str | None = None  # when the latest of the samples learned happened, where any said when
    event_lag_s: float | None = None  # how long ago that was


@dataclass(frozen=True)
class Promoted:
    """model: that took the shadow's state over; snapshot: of it that keeps the state; entry: the command that did."""

    model: str
    snapshot: str
    entry: str
    model_version: int


@dataclass(frozen=True)
class Key:
    """models: None for all; expires_at: None for never; revoked_at: None while it was not.

    requests_per_minute: None for what the service's settings say.
    """

    id: str
    name: str
    scopes: list[str]
    models: list[str] | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    requests_per_minute: int | None


@dataclass(frozen=True)
class CreatedKey(Key):
    key: str = dataclass_field(repr=False)  # the secret


def parse_metrics(answer: Any) -> Metrics:
    flat = parse(Metrics, answer)
    return replace(
        flat,
        drifts=parse(Drifts, flat.drifts),
        classes=parse_list(ClassFigures, answer, "classes"),
        retention=None if flat.retention is None else parse(Retention, flat.retention),
        shadows=parse_list(ShadowFigures, answer, "shadows"),
    )


def parse_tracked(answer: Any) -> Tracked:
    flat = parse(Tracked, answer)
    return replace(flat, outcome=None if flat.outcome is None else parse(Outcome, flat.outcome))


def parse(kind: type[Resource], answer: Any) -> Resource:
    """Ignores fields that it does not know: a newer service may have more."""
    given = answer if isinstance(answer, dict) else {}
    names = [field.name for field in fields(kind) if field.name in given or field.default is MISSING]
    missing = [name for name in names if name not in given]
    if missing:
        raise UnexpectedAnswer(f"the answer is not a {kind.__name__.lower()}: it has no {', '.join(missing)}")
    return kind(**{name: answer[name] for name in names})


def parse_list(kind: type[Resource], answer: Any, field: str) -> list[Resource]:
    if not isinstance(answer, dict) or not isinstance(answer.get(field), list):
        raise UnexpectedAnswer(f"the answer has no list of {field}")
    return [parse(kind, item) for item in answer[field]]
