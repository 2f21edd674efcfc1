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
    """Declared classes in their order: label ↔ output index.

    Args:
        classes: distinct labels of one type.
    Raises: ValueError naming the label that repeats, has another type than the first or a type that labels cannot have.

    >>> LabelIndex(["no", "yes"]).encode(["yes", "no"])
    [1, 0]
    """

    def __init__(self, classes: Sequence[Label]) -> None:
        self.classes = tuple(classes)
        if not self.classes:
            raise ValueError("classes must name at least one label, not []")
        if type(self.classes[0]) not in LABEL_TYPES.values():
            raise ValueError(f"classes must be one of {', '.join(LABEL_TYPES)}, not {self.classes[0]!r}")
        for label in self.classes:
            if type(label) is not type(self.classes[0]):
                raise ValueError(f"classes must have one type; {label!r} is not a {type(self.classes[0]).__name__}")
        self._index = {label: index for index, label in enumerate(self.classes)}
        if len(self._index) != len(self.classes):
            repeated = next(label for index, label in enumerate(self.classes) if self._index[label] != index)
            raise ValueError(f"classes must be distinct; {repeated!r} is there twice")

    @property
    def label_type(self) -> str:
        return next(name for name, kind in LABEL_TYPES.items() if type(self.classes[0]) is kind)

    def encode(self, labels: Iterable[Label]) -> list[int]:
        """Raises: UnknownLabel (also for a label of another type: 1 is not True, nor "1")."""
        kind = type(self.classes[0])
        indices = []
        for position, label in enumerate(labels):
            index = self._index.get(label) if type(label) is kind else None
            if index is None:
                raise UnknownLabel(label, position)
            indices.append(index)
        return indices

    def decode(self, indices: Iterable[int]) -> list[Label]:
        return [self.classes[index] for index in indices]
