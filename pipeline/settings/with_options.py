"""Sections of settings to which the entries of a registry add options of their own."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, create_model, model_validator

from ...transforms.basics.errors import InputError, quoted
from ...transforms.basics.options import EntryWithOptions, Option, RegistryWithOptions
from .base import Settings

Offered = tuple[tuple[str, Option], ...]
"""Options, each with the name of the entry that has it."""


class WithOptions(Settings):
    """Base class of a section that also takes the options of all entries of ``registry``, as attributes.

    The registry is read at each validation, so an entry that is added later counts, too.
    """

    model_config = ConfigDict(extra="allow")
    section: ClassVar[str]
    registry: ClassVar[RegistryWithOptions[Any]]

    if TYPE_CHECKING:  # pydantic finds the options

        def __getattr__(self, name: str) -> Any: ...

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.registry.reserve([*cls.model_fields, *dir(cls)])

    @classmethod
    def offered(cls) -> Offered:
        """The options of all entries."""
        return tuple((entry.name, option) for entry in cls.registry.values() for option in entry.options)

    @classmethod
    def options_model(cls) -> type[Settings]:
        """The options alone, as a section of settings."""
        return _model(cls.offered())

    @classmethod
    def option_names(cls) -> frozenset[str]:
        """The names of all options."""
        return frozenset(option.name for _, option in cls.offered())

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The default of every option that a trial's id does not cover there, as plain values."""
        return {option.name: _plain(option) for _, option in cls.offered() if not option.always_in_id}

    @classmethod
    def defaults_of_others(cls) -> dict[str, Any]:
        """The default of every option that only entries of other packages have, as plain values."""
        own = {option.name for entry, option in cls.offered() if entry not in cls.registry.packages}
        return {option.name: _plain(option) for _, option in cls.offered() if option.name not in own}

    @model_validator(mode="wrap")
    @classmethod
    def _read_options(cls, values: Any, handler: ModelWrapValidatorHandler["WithOptions"]) -> "WithOptions":
        """Check the options and fill in their defaults. Its errors name the options, as those of fields do."""
        if not isinstance(values, Mapping):
            return handler(values)
        own = {key: value for key, value in values.items() if key not in cls.model_fields}
        options, faults = {}, []
        try:
            options = dict(cls.options_model().model_validate(own))
        except ValidationError as error:
            faults += error.errors()
        try:
            settings = handler({**{key: value for key, value in values.items() if key not in own}, **options})
            if not faults:
                return settings
        except ValidationError as error:
            faults += error.errors()
        parts = ("type", "loc", "input", "ctx")
        details: list[Any] = [{part: fault[part] for part in parts if part in fault} for fault in faults]
        raise ValidationError.from_exception_data(cls.__name__, details)

    def given(self) -> dict[str, Any]:
        """The options that differ from their default."""
        values, options = self.model_extra or {}, {option.name: option for _, option in self.offered()}
        return {name: value for name, value in values.items() if name in options and value != options[name].default}

    def options_of(self, entry: EntryWithOptions) -> dict[str, Any]:
        """The options of the entry, without those that its own code decides.

        Raises:
            InputError: another entry's option is given.
        """
        own = {option.name: option.default for option in entry.options}
        for name, value in self.given().items():
            if name not in own:
                raise InputError(
                    f"{self.section}.{name} is {quoted(value)}, but the {self.registry.kind} {entry.name} has no such "
                    "option; remove it"
                )
        values = {name: (self.model_extra or {}).get(name, default) for name, default in own.items()}
        return {name: value for name, value in values.items() if value is not None}


def _plain(option: Option) -> Any:
    return list(option.default) if isinstance(option.default, tuple) else option.default


@cache
def _model(offered: Offered) -> type[Settings]:
    """Settings with these options. The meaning of an option names the entries that have it."""
    meanings: dict[str, dict[str, list[str]]] = {}
    for entry, option in offered:
        meanings.setdefault(option.name, {}).setdefault(option.meaning, []).append(entry)
    fields: dict[str, Any] = {}
    for _, option in offered:
        told = "; ".join(f"{', '.join(entries)}: {meaning}" for meaning, entries in meanings[option.name].items())
        fields[option.name] = (_annotation(option), Field(default=option.default, description=told))
    return create_model("Options", __base__=Settings, **fields)


def _annotation(option: Option) -> Any:
    """The type of an option's values, for pydantic."""
    bounded = option.least is not None or option.most is not None
    one: Any = Annotated[option.kind, Field(ge=option.least, le=option.most)] if bounded else option.kind
    one = Literal[option.among] if option.among else one
    value: Any = Annotated[tuple[one, ...], Field(min_length=option.fewest)] if option.many else one
    return value | None if option.default is None else value
