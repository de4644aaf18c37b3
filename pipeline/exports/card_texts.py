"""What a model card says in the words of the person who exports the network."""

from dataclasses import dataclass


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
