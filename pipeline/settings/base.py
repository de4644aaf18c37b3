"""What all sections of a trial's configuration have in common."""

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Digest = Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
"""The first hexadecimal digits of a file's sha256."""
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # MONAI takes seeds modulo 2**32


class Settings(BaseModel):
    """Base class of all settings: immutable, without unknown keys, NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )

    def __hash__(self) -> int:
        """Pydantic's own fails for a setting that is a mapping."""
        return hash(json.dumps(self.model_dump(mode="json"), sort_keys=True))
