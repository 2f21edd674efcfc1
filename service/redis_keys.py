"""Every Redis key and channel. A model's keys share its UUID as hash tag, so that one script may touch them all."""

PREFIX = "am"
ACKNOWLEDGED = f"{PREFIX}:acknowledged"
"""Written after an append whose sync is awaited, so that there is something to wait for when the append was a repetition."""
RATES_PREFIX = f"{PREFIX}:rates"
"""Before the keys of the library that counts requests."""
WEIGHTS_PATTERN = f"{PREFIX}:*:weights"


def stream(model_id: str) -> str:
    """The log: one entry a block or command, its bytes in the field `FIELD`."""
    return f"{PREFIX}:{{{model_id}}}:stream"


FIELD = "e"


SAMPLES_BEFORE = "s"
"""Beside `FIELD`: how many samples were added before the entry."""


def samples_added(model_id: str) -> str:
    """How many samples were ever added to the log."""
    return f"{PREFIX}:{{{model_id}}}:samples-added"


def stream_uuid(model_id: str) -> str:
    """Identity of the log; the same UUID stands in the database."""
    return f"{PREFIX}:{{{model_id}}}:uuid"


def idempotency(model_id: str) -> str:
    """Hash: hashed (API key, Idempotency-Key) → payload digest and entry IDs."""
    return f"{PREFIX}:{{{model_id}}}:idempotency"


def idempotency_expiry(model_id: str) -> str:
    """Sorted set: the fields of `idempotency` by expiry in ms."""
    return f"{PREFIX}:{{{model_id}}}:idempotency-expiry"


def epoch(model_id: str) -> str:
    """Highest lease epoch that trimmed the log."""
    return f"{PREFIX}:{{{model_id}}}:epoch"


def dead_letters(model_id: str) -> str:
    """Stream of entries that were passed over, under their own IDs, with `cause` and the original bytes."""
    return f"{PREFIX}:{{{model_id}}}:dead"


def events(model_id: str) -> str:
    """Stream of what happened to the model, the newest thousand or so: fields `kind` and `data`, JSON."""
    return f"{PREFIX}:{{{model_id}}}:events"


def predictions(model_id: str) -> str:
    """Hash: ID of a prediction that waits for its label → the prediction."""
    return f"{PREFIX}:{{{model_id}}}:predictions"


def outcomes(model_id: str) -> str:
    """Hash: the same IDs → the entry that holds the label, and the label as JSON."""
    return f"{PREFIX}:{{{model_id}}}:outcomes"


def predictions_expiry(model_id: str) -> str:
    """Sorted set: the same IDs by expiry in ms."""
    return f"{PREFIX}:{{{model_id}}}:predictions-expiry"


def weights_channel(model_id: str) -> str:
    """Pub/Sub: published weights, newest only."""
    return f"{PREFIX}:{{{model_id}}}:weights"


def model_of_channel(channel: str) -> str:
    return channel.split(":")[1].strip("{}")


ALL = (
    stream,
    samples_added,
    stream_uuid,
    idempotency,
    idempotency_expiry,
    epoch,
    dead_letters,
    events,
    predictions,
    outcomes,
    predictions_expiry,
)


def all_of(model_id: str) -> list[str]:
    return [make(model_id) for make in ALL]
