"""Snapshots as files: safetensors whose metadata holds a manifest as JSON, under the key `amstream`.

What comes in is hostile until everything here has passed: the file's form, the manifest, each tensor's name, dtype, shape
and values, and the digest. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from service import state as states
from service.entry_id import EntryId
from service.exchange_checks import MOST_SAMPLES, check_adoptable, check_memories, check_values
from service.fold import Fold
from service.knowledge import IN_FORCE, Knowledge, bytes_like
from service.problems import FieldError, Invalid
from service.repositories.checkpoints import Position
from service.spec import ModelSpec
from service.state import FoldState, StoredState

FORMAT = 1
MEDIA_TYPE = "application/vnd.safetensors"
METADATA_KEY = "amstream"

OWN_PER_MODEL = ("seed", "block", "retain_s", "shadow_of")
"""Fields of a spec that may differ between the model that a state comes from and the one that takes it over."""

MOST_ERRORS = 100
_DTYPES = {"F32": "float32", "F64": "float64", "I64": "int64"}

M = TypeVar("M", bound=BaseModel)


class _Formats(BaseModel):
    """Read first: the rest of a manifest of another format may have any shape."""

    model_config = ConfigDict(strict=True)
    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]
    state_format: Annotated[int, Field(ge=states.FORMAT, le=states.FORMAT)]


class Manifest(_Formats):
    """spec and header: what the state is of; digest: of the state; checksum: SHA-256 of the manifest without it."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    spec: ModelSpec
    header: dict[str, Any]
    entry: Annotated[str, Field(max_length=41)]
    entries_applied: Annotated[int, Field(ge=0, lt=MOST_SAMPLES)]
    samples_learned: Annotated[int, Field(ge=0, lt=MOST_SAMPLES)]
    created_at: float
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    checksum: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Imported:
    """A state that passed every check, and where it was taken: a position in the stream of the model it comes from.

    other: fields of the spec that it brings other values for than the model was created with.
    """

    stored: StoredState
    position: Position
    other: tuple[str, ...] = ()


def most_bytes(spec: ModelSpec) -> int:
    """No file for a model of this spec is larger. Twice the matrices: learners carry vectors and counters beside them."""
    return 2 * spec.state_bytes() + 64 * spec.inputs + _most_header_bytes(spec)


def _most_header_bytes(spec: ModelSpec) -> int:
    """The spec's text comes twice, the second time within the header's classes, each escaped twice."""
    return 2**16 + 16 * len(spec.model_dump_json())


# Out


def write(spec: ModelSpec, state: FoldState, *, digest: str, position: Position, created_at: float) -> bytes:
    manifest = {
        "format": FORMAT,
        "state_format": states.FORMAT,
        "spec": spec.model_dump(),
        "header": dict(state.header),
        "entry": str(position.entry),
        "entries_applied": position.entries_applied,
        "samples_learned": position.samples_learned,
        "created_at": created_at,
        "digest": digest,
    }
    text = json.dumps(manifest | {"checksum": checksum(manifest)}, sort_keys=True)
    return safetensors.torch.save(dict(state.tensors), metadata={METADATA_KEY: text})


def checksum(manifest: Mapping[str, Any]) -> str:
    """Of a manifest, leaving out its own checksum."""
    rest = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


# In


def read(content: bytes, spec: ModelSpec) -> Imported:
    """The state in a file that `write` made for a model of an equal learner, hyper-parameters, classes and shapes.

    Raises: Invalid naming the field and value.
    """
    found = _parsed(content, _most_header_bytes(spec))
    manifest = _manifest(content)
    _check_spec(manifest.spec, spec)
    fold = Fold(spec, device="cpu")
    for name in sorted(manifest.header.keys() ^ fold.state().header.keys()):
        rule = "is unknown" if name in manifest.header else "is missing"
        raise Invalid(FieldError(f"manifest.header.{name}", manifest.header.get(name), rule))
    try:
        needed = bytes_like(spec, manifest.header)
        if needed > len(content):  # before anything of that size is made
            rule = f"needs {needed} bytes of tensors, and the file has {len(content)}"
            raise Invalid(FieldError("manifest.header", manifest.header, rule))
        like = Knowledge.of_size(spec, manifest.header, device="cpu").state()
    except ValueError as error:
        raise Invalid(FieldError("manifest.header", manifest.header, str(error))) from error
    tensors = _tensors(found, like.tensors)
    for name, tensor in tensors.items():
        check_values(name, tensor)
    check_memories(tensors, spec)
    state = FoldState(manifest.header, tensors)
    stored = states.store(state)
    if stored.digest != manifest.digest:
        raise Invalid(FieldError("manifest.digest", manifest.digest, f"the state's digest is {stored.digest}"))
    check_adoptable(fold, state)
    try:
        entry = EntryId.parse(manifest.entry)
    except ValueError as error:
        raise Invalid(FieldError("manifest.entry", manifest.entry, "must be an entry ID")) from error
    created = spec.model_dump(mode="json")
    other = tuple(field for field in IN_FORCE if manifest.header.get(field) != created[field])
    return Imported(stored, Position(entry, manifest.entries_applied, manifest.samples_learned), other)


def _parsed(content: bytes, most_header: int) -> dict[str, dict[str, Any]]:
    """Tensors by name as the library sees them: no offsets that overlap, leave gaps or point outside."""
    if len(content) < 8:
        raise Invalid(_not_safetensors(content, "it has no header"))
    header_bytes = int.from_bytes(content[:8], "little")
    if header_bytes > min(most_header, len(content) - 8):
        rule = f"must be at most {min(most_header, len(content) - 8)} bytes"
        raise Invalid(FieldError("header length", header_bytes, rule))
    try:
        found = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError, OverflowError) as error:
        raise Invalid(_not_safetensors(content, str(error))) from error
    return dict(found)


def _not_safetensors(content: bytes, cause: str) -> FieldError:
    return FieldError("body", f"{len(content)} bytes", f"must be a safetensors file: {cause}")


def _manifest(content: bytes) -> Manifest:
    """Of a file whose header the library has read."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = _json("header", content[8:end].decode())
    text = header.get("__metadata__", {}).get(METADATA_KEY)
    if text is None:
        raise Invalid(FieldError("manifest", None, f"must be in the file's metadata, under {METADATA_KEY!r}"))
    manifest = _json("manifest", text)
    _validated(_Formats, text)
    checked = _validated(Manifest, text)
    if checksum(manifest) != checked.checksum:
        raise Invalid(FieldError("manifest.checksum", checked.checksum, "the manifest was changed or damaged"))
    return checked


def _json(field: str, text: str) -> dict[str, Any]:
    """A JSON object in which no name comes twice and every number is one."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name comes twice")
        return dict(pairs)

    def refuse(number: str) -> None:
        raise ValueError(f"{number} is no number")

    try:
        parsed = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Invalid(FieldError(field, text, f"must be JSON: {error}")) from error
    if not isinstance(parsed, dict):
        raise Invalid(FieldError(field, text, "must be a JSON object"))
    return parsed


def _validated(kind: type[M], text: str) -> M:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        details = error.errors(include_url=False)[:MOST_ERRORS]
        raise Invalid(*(FieldError(_path(d["loc"]), d["input"], d["msg"]) for d in details)) from error
    except Invalid as error:  # from the spec
        parts = [FieldError(f"manifest.spec.{part.field}", part.value, part.message) for part in error.errors]
        raise Invalid(*parts) from error


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(["manifest", *map(str, location)])


def _check_spec(theirs: ModelSpec, ours: ModelSpec) -> None:
    given, wanted = theirs.model_dump(), ours.model_dump()
    errors = [
        FieldError(f"manifest.spec.{field}", given[field], f"is {wanted[field]!r} in this model")
        for field in wanted
        if field not in OWN_PER_MODEL and given[field] != wanted[field]
    ]
    if errors:
        raise Invalid(*errors)


def _tensors(found: Mapping[str, Mapping[str, Any]], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, exactly those of `like` by name, dtype and shape."""
    for name in sorted(found.keys() ^ like.keys()):
        raise Invalid(FieldError(f"tensors.{name}", name, "is unknown" if name in found else "is missing"))
    tensors = {}
    for name, wanted in like.items():
        given = found[name]
        dtype, shape = _DTYPES.get(given["dtype"]), tuple(given["shape"])
        wanted_dtype = str(wanted.dtype).removeprefix("torch.")
        if dtype != wanted_dtype:
            raise Invalid(FieldError(f"tensors.{name}.dtype", given["dtype"], f"must be {wanted_dtype}"))
        if shape != tuple(wanted.shape):
            raise Invalid(FieldError(f"tensors.{name}.shape", list(shape), f"must be {list(wanted.shape)}"))
        array = np.frombuffer(given["data"], np.dtype(dtype).newbyteorder("<")).reshape(shape)
        tensors[name] = torch.tensor(array, dtype=wanted.dtype)
    return tensors
