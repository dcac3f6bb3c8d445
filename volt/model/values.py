"""Immutable values with named fields: what dataclasses(frozen=True) gives, without its price.

For each class `dataclasses` compiles seven functions, and imports inspect to be able to: for the ninety classes of a
first launch a fifth of its time. Here the functions are written once. `dataclasses.fields`, `replace` and `asdict`
take values as they take dataclasses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn, TypeVar, dataclass_transform

One = TypeVar("One", bound="Value")


class _Made:
    """A default that is made anew for each value."""

    def __init__(self, make: Any) -> None:
        self.make = make


def field(*, default_factory: Any) -> Any:
    """A field whose default is what `default_factory` makes, for values that could be changed."""
    return _Made(default_factory)


class _Fields:
    """What the functions of dataclasses go by, made for whoever calls one."""

    made: ClassVar[dict[type, Any]] = {}

    def __get__(self, _: object, owner: type[Value]) -> Any:
        import dataclasses

        if owner not in self.made:
            found = []
            for name, kind in kinds(owner).items():
                default = defaults(owner).get(name, dataclasses.MISSING)
                more = {"default_factory": default.make} if isinstance(default, _Made) else {"default": default}
                found.append((name, kind, dataclasses.field(**more)))
            made: Any = dataclasses.make_dataclass(owner.__name__, found, kw_only=True)
            self.made[owner] = made.__dataclass_fields__
        return self.made[owner]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Value:
    """A class below this one is written as a dataclass is: its annotations are its fields.

    `_kinds` are their names with their annotations, in order, and `_defaults` what those have that may be left out.
    """

    _kinds: ClassVar[dict[str, str]] = {}
    _defaults: ClassVar[dict[str, Any]] = {}
    _made: ClassVar[tuple[str, ...]] = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()
    __dataclass_fields__ = _Fields()

    def __init_subclass__(cls) -> None:
        own = {name: kind for name, kind in cls.__annotations__.items() if not kind.startswith("ClassVar[")}
        cls._kinds = {**cls._kinds, **own}
        cls._defaults = {**cls._defaults, **{name: cls.__dict__[name] for name in own if name in cls.__dict__}}
        cls._made = tuple(name for name, default in cls._defaults.items() if isinstance(default, _Made))
        cls.__match_args__ = tuple(cls._kinds)  # type: ignore[misc]

    def __init__(self, *values: Any, **named: Any) -> None:
        """The fields by place or by name. Raises TypeError for one too many, twice, or missing."""
        cls = type(self)
        if values:
            placed = dict(zip(cls.__match_args__, values, strict=False))
            if len(placed) < len(values) or (named and not placed.keys().isdisjoint(named)):
                raise TypeError(f"{cls.__qualname__}: too many values, or one of them twice")
            named.update(placed)
        found = self.__dict__
        found.update(cls._defaults)
        found.update(named)
        for name in cls._made:
            if name not in named:
                found[name] = cls._defaults[name].make()
        if found.keys() != cls._kinds.keys():
            odd = ", ".join(sorted(found.keys() ^ cls._kinds.keys()))
            raise TypeError(f"{cls.__qualname__} has other fields: {odd}")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(map(self.__dict__.get, self._kinds)))

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._kinds)})"

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise AttributeError(f"{type(self).__qualname__}.{name} cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__qualname__}.{name} cannot be deleted")


def replace(value: One, **changes: Any) -> One:
    """Another value, with some fields changed."""
    return type(value)(**{**value.__dict__, **changes})


def kinds(of: type[Value]) -> Mapping[str, str]:
    """The annotation of each field by its name, in order."""
    return of._kinds  # noqa: SLF001 (one module's own)


def defaults(of: type[Value]) -> Mapping[str, Any]:
    """The value of each field that may be left out, by its name."""
    return of._defaults  # noqa: SLF001 (one module's own)
