"""What a model card says in the words of the person who exports the network. A model's file keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...transforms.basics.errors import InputError, quoted

LONGEST = 10_000
"""Characters of a text in a model's file, at most."""
OF_ONE_EXPORT = ("note",)
"""Texts on what one export gave; another export of the same network does not repeat them."""


@dataclass(frozen=True)
class CardTexts:
    """Texts for a model card; None: not stated.

    Attributes:
        authors: the authors, who hold the copyright.
        images: the training images, in a few words; default: what their reader says.
        terms: the terms of use of these images, in full sentences; default: what their reader says.
        note: Markdown that follows the measured accuracy.
    """

    authors: str | None = None
    images: str | None = None
    terms: str | None = None
    note: str | None = None

    @classmethod
    def read(cls, noted: Any, where: Path) -> "CardTexts":
        """Read the texts that :meth:`kept` gave.

        Args:
            noted: the texts in the file ``where``.
            where: the file, for error messages.

        Raises:
            InputError: something else than a text, or a very long one.
        """
        known = [field.name for field in fields(cls) if field.name not in OF_ONE_EXPORT]
        if not isinstance(noted, Mapping) or not set(noted) <= set(known):
            raise InputError(f"{where}: about.card is {quoted(noted)}, expected texts for {', '.join(known)}.")
        for name, text in noted.items():
            if not isinstance(text, str) or len(text) > LONGEST:
                raise InputError(
                    f"{where}: about.card.{name} is {quoted(text)}, expected a text of at most {LONGEST:,} characters."
                )
        return cls(**noted)

    def kept(self) -> dict[str, str]:
        """The texts that stay with the network, by name."""
        return {name: text for name, text in vars(self).items() if text is not None and name not in OF_ONE_EXPORT}

    def over(self, other: "CardTexts") -> "CardTexts":
        """These texts, and where there is none, that of ``other``.

        Terms add up: those on which images were used hold for the weights, whatever else a later export says.
        """
        texts = {name: vars(other)[name] if text is None else text for name, text in vars(self).items()}
        if self.terms and other.terms and other.terms not in self.terms:
            texts["terms"] = other.terms if self.terms in other.terms else f"{other.terms} {self.terms}"
        return CardTexts(**texts)
