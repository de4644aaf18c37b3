"""Sections of settings to which the entries of a registry add options of their own."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, Union

from pydantic import ConfigDict, Field, create_model, model_validator

from ...transforms.basics.errors import InputError, quoted
from ...transforms.basics.options import Option
from ...transforms.basics.registry import Registry
from .base import Settings


class HasOptions(Protocol):
    """A registry entry with options."""

    @property
    def name(self) -> str: ...
    @property
    def options(self) -> tuple[Option, ...]: ...


Offered = tuple[tuple[str, Option], ...]
"""Options, each with the name of the entry that has it."""


class WithOptions(Settings):
    """Base class of a section that also takes the options of all entries of ``registry``, as attributes.

    The registry is read at each validation, so an entry that is added later counts, too. An instance has all options.
    """

    model_config = ConfigDict(extra="allow")
    section: ClassVar[str]
    registry: ClassVar[Registry[Any]]

    if TYPE_CHECKING:  # pydantic finds the options

        def __getattr__(self, name: str) -> Any: ...

    @classmethod
    def offered(cls) -> Offered:
        """The options of all entries."""
        return tuple((entry.name, option) for entry in cls.registry.values() for option in entry.options)

    @classmethod
    def options_model(cls) -> type[Settings]:
        """The options alone, as a section of settings."""
        return _model(cls.offered())

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The default of every option that is left out of a trial's id there, as plain values."""
        listed = {option.name: option for _, option in cls.offered()}
        return {
            name: list(option.default) if option.many and option.default is not None else option.default
            for name, option in listed.items()
            if not option.always_in_id
        }

    @classmethod
    def option_names(cls) -> frozenset[str]:
        """The names of all options."""
        return frozenset(cls.options_model().model_fields)

    @model_validator(mode="before")
    @classmethod
    def _read_options(cls, values: Any) -> Any:
        """Check the options and fill in their defaults. Its errors name the options, as those of fields do."""
        if not isinstance(values, Mapping):
            return values
        own = {key: value for key, value in values.items() if key not in cls.model_fields}
        return {**values, **dict(cls.options_model().model_validate(own))}

    def given(self) -> dict[str, Any]:
        """The options that differ from their default."""
        values = {option.name: (getattr(self, option.name), option.default) for _, option in self.offered()}
        return {name: value for name, (value, default) in values.items() if value != default}

    def options_of(self, entry: HasOptions) -> dict[str, Any]:
        """The given options, all of which the entry must have.

        Raises:
            InputError: another entry's option is given.
        """
        own = {option.name for option in entry.options}
        for name, value in self.given().items():
            if name not in own:
                raise InputError(
                    f"{self.section}.{name} is {quoted(value)}, but the {self.registry.kind} {entry.name} has no such "
                    "option; remove it"
                )
        return self.given()


@cache
def _model(offered: Offered) -> type[Settings]:
    """Settings with these options. Entries can share an option; it then takes what any of them takes."""
    fields: dict[str, Any] = {}
    for name in dict.fromkeys(option.name for _, option in offered):
        alike = [(entry, option) for entry, option in offered if option.name == name]
        forms = dict.fromkeys(replace(option, meaning="") for _, option in alike)
        meanings: dict[str, list[str]] = {}
        for entry, option in alike:
            meanings.setdefault(option.meaning, []).append(entry)
        told = "; ".join(f"{', '.join(entries)}: {meaning}" for meaning, entries in meanings.items())
        kind = Union[tuple(map(_annotation, forms))]  # noqa: UP007 (of a tuple)
        fields[name] = (kind, Field(default=alike[0][1].default, description=told))
    return create_model("Options", __base__=Settings, **fields)


def _annotation(option: Option) -> Any:
    """The type of an option's values, for pydantic."""
    one: Any = (
        Annotated[option.kind, Field(ge=option.least, le=option.most)] if option.least is not None else option.kind
    )
    one = Literal[option.among] if option.among else one
    value: Any = Annotated[tuple[one, ...], Field(min_length=option.fewest)] if option.many else one
    return value | None if option.default is None else value
