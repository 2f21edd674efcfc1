"""Labels of a stream (strings, integers or booleans) and their indices in the net's output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Label = str | int | bool

LABEL_TYPES: dict[str, type] = {"string": str, "integer": int, "boolean": bool}


class UnknownLabel(ValueError):
    """A label of the right type that the index does not hold; `label` and `position` say which and where."""

    def __init__(self, label: Label, position: int) -> None:
        super().__init__(f"label {label!r} at position {position} is not a declared class")
        self.label = label
        self.position = position


class LabelIndex:
    """Classes in their order: label ↔ output index.

    Args:
        classes: distinct labels of one type.
        label_type: `string`, `integer` or `boolean`; may be left out where there are classes.
    Raises: ValueError naming the label that repeats, has another type than it must or one that labels cannot have.

    >>> index = LabelIndex(["no", "yes"])
    >>> index.encode(["yes", "no"])
    [1, 0]
    >>> index.extended(["maybe", "no", "maybe"]).classes
    ('no', 'yes', 'maybe')
    """

    def __init__(self, classes: Sequence[Label], label_type: str | None = None) -> None:
        self.classes = tuple(classes)
        types = {kind: name for name, kind in LABEL_TYPES.items()}
        if not self.classes and label_type is None:
            raise ValueError("classes must name at least one label where there is no label_type, not []")
        if self.classes and type(self.classes[0]) not in types:
            raise ValueError(f"classes must be one of {', '.join(LABEL_TYPES)}, not {self.classes[0]!r}")
        self.label_type = label_type or types[type(self.classes[0])]
        for label in self.classes:
            if type(label) is not LABEL_TYPES[self.label_type]:
                raise ValueError(
                    f"classes must have one type; {label!r} is not a {LABEL_TYPES[self.label_type].__name__}"
                )
        self._index = {label: index for index, label in enumerate(self.classes)}
        if len(self._index) != len(self.classes):
            repeated = next(label for index, label in enumerate(self.classes) if self._index[label] != index)
            raise ValueError(f"classes must be distinct; {repeated!r} is there twice")

    def __len__(self) -> int:
        return len(self.classes)

    def encode(self, labels: Iterable[Label]) -> list[int]:
        """Raises: UnknownLabel (also for a label of another type: 1 is not True, nor "1")."""
        kind = LABEL_TYPES[self.label_type]
        indices = []
        for position, label in enumerate(labels):
            index = self._index.get(label) if type(label) is kind else None
            if index is None:
                raise UnknownLabel(label, position)
            indices.append(index)
        return indices

    def extended(self, labels: Iterable[Label]) -> LabelIndex:
        """With those that it does not hold yet, in order; itself when there are none. Raises: UnknownLabel for another type."""
        kind = LABEL_TYPES[self.label_type]
        new: dict[Label, None] = {}
        for position, label in enumerate(labels):
            if type(label) is not kind:
                raise UnknownLabel(label, position)
            if label not in self._index:
                new[label] = None
        return LabelIndex([*self.classes, *new], self.label_type) if new else self

    def decode(self, indices: Iterable[int]) -> list[Label]:
        return [self.classes[index] for index in indices]
