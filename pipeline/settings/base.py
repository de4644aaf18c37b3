"""What all sections of a trial's configuration have in common."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

EXPECTED: dict[str, str] = {}
"""For the pattern of a text, what was expected, in words."""


def matching(pattern: str, expected: str) -> Any:
    """A field's mark for texts with a match of ``pattern``; the error for another text says what was ``expected``."""
    EXPECTED[pattern] = expected
    return Field(pattern=pattern)


Digest = Annotated[str, matching("^[0-9a-f]{12}$", "the first 12 hexadecimal digits of the file's sha256")]
"""The first hexadecimal digits of a file's sha256."""
MOST, MOST_IN_BATCH = 10**7, 10**4
"""The largest number of steps or epochs, and of pairs in a batch."""
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # MONAI takes seeds modulo 2**32


@dataclass(frozen=True)
class InWords:
    """A field's mark: what a report says for each of its values.

    The words can name other fields of the section in braces, such as ``{atlas}``.
    """

    words: Mapping[Any, str]

    def __hash__(self) -> int:
        return hash(tuple(self.words.items()))


class Settings(BaseModel):
    """Base class of all settings: immutable, without unknown keys, NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )

    def __hash__(self) -> int:
        """Pydantic's own fails for a setting that is a mapping."""
        return hash(json.dumps(self.model_dump(mode="json"), sort_keys=True))

    def in_words(self, name: str) -> str:
        """What a report says for the value of the setting ``name``, which is marked with :class:`InWords`."""
        marks = (mark for mark in type(self).model_fields[name].metadata if isinstance(mark, InWords))
        return next(marks).words[getattr(self, name)].format(**dict(self))
