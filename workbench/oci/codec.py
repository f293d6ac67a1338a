"""One JSON encoder and decoder for every frozen value of ``oci``.

A field is written under its name in camelCase, or under the name that ``key()`` gives. A field
that equals its default is left out, as Go's ``omitempty`` does; one without a default is always
written. A dataclass with a field named ``extra`` keeps there what it does not know, so that
unknown keys survive a round trip.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, Union

from workbench.errors import InvalidInput

T = TypeVar("T")
_MISSING = dataclasses.MISSING


def key(name: str, *, default: Any = _MISSING, factory: Any = _MISSING, keep: bool = False) -> Any:
    """A dataclass field stored as ``name``; ``keep`` writes it even where it is the default."""
    metadata = {"json": name, "keep": keep}
    if factory is not _MISSING:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def dumps(value: Any, *, indent: int | None = None) -> bytes:
    """The JSON of a value, as UTF-8, compact unless ``indent`` is given. Deterministic."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(encode(value), ensure_ascii=False, separators=separators, indent=indent)
    return text.encode("utf-8", "surrogatepass")


def loads(kind: type[T], raw: bytes | str, *, what: str = "document") -> T:
    """Decode JSON into ``kind``. Raises InvalidInput that names ``what`` and the place in it."""
    try:
        tree = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{what} is not valid JSON: {error}") from error
    return typing.cast(T, decode(kind, tree, what))


def encode(value: Any) -> Any:
    """A tree of dicts, lists and scalars out of a value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _encode_dataclass(value)
    if isinstance(value, Mapping):
        return {str(name): encode(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    return value


def _encode_dataclass(value: Any) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    kind: Any = type(value)
    for name, field in _fields(kind):
        item = getattr(value, field.name)
        if field.name == "extra":
            tree.update(encode(item))
        elif field.metadata.get("keep") or not _is_default(field, item):
            tree[name] = encode(item)
    return tree


def _is_default(field: dataclasses.Field[Any], item: Any) -> bool:
    if field.default is not _MISSING:
        return bool(item == field.default)
    if field.default_factory is not _MISSING:
        return bool(item == field.default_factory())
    return False


def decode(kind: Any, tree: Any, place: str) -> Any:
    """A value of the type ``kind`` out of a JSON tree; ``place`` names it in messages."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return tree
    if origin in (Union, types.UnionType):
        return _decode_union(kind, tree, place)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, tree, place)
    if origin is tuple:
        return _decode_tuple(kind, tree, place)
    if origin is not None and issubclass(origin, Mapping):
        return _decode_mapping(kind, tree, place)
    return _decode_scalar(kind, tree, place)


def _decode_union(kind: Any, tree: Any, place: str) -> Any:
    if tree is None:
        return None
    options = [option for option in typing.get_args(kind) if option is not type(None)]
    for option in options[:-1]:
        try:
            return decode(option, tree, place)
        except InvalidInput:
            continue
    return decode(options[-1], tree, place)


def _decode_dataclass(kind: Any, tree: Any, place: str) -> Any:
    if not isinstance(tree, dict):
        raise InvalidInput(f"{place} must be an object, not {_json_name(tree)}")
    hints = _hints(kind)
    values: dict[str, Any] = {}
    known = set()
    for name, field in _fields(kind):
        known.add(name)
        if field.name == "extra":
            continue
        item = tree.get(name)
        if item is not None:
            values[field.name] = decode(hints[field.name], item, f"{place}.{name}")
        elif not _has_default(field):
            raise InvalidInput(f"{place} lacks {name!r}")
    if "extra" in hints:
        values["extra"] = {name: item for name, item in tree.items() if name not in known}
    return kind(**values)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not _MISSING or field.default_factory is not _MISSING


def _decode_tuple(kind: Any, tree: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(tree, list):
        raise InvalidInput(f"{place} must be an array, not {_json_name(tree)}")
    items = typing.get_args(kind)
    if items[-1] is Ellipsis:
        items = (items[0],) * len(tree)
    elif len(items) != len(tree):
        raise InvalidInput(f"{place} must have {len(items)} items, not {len(tree)}")
    return tuple(
        decode(item, part, f"{place}[{index}]")
        for index, (item, part) in enumerate(zip(items, tree, strict=True))
    )


def _decode_mapping(kind: Any, tree: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(tree, dict):
        raise InvalidInput(f"{place} must be an object, not {_json_name(tree)}")
    item = typing.get_args(kind)[1]
    return {name: decode(item, part, f"{place}.{name}") for name, part in tree.items()}


def _decode_scalar(kind: Any, tree: Any, place: str) -> Any:
    if kind in (int, float, bool, str, dict):
        exact = type(tree) is kind or (kind is float and type(tree) is int)
        if not exact:
            raise InvalidInput(f"{place} must be {kind.__name__}, not {_json_name(tree)}")
        return tree
    if isinstance(kind, type) and issubclass(kind, str) and isinstance(tree, str):
        try:
            return kind(tree)
        except ValueError as error:
            raise InvalidInput(f"{place}: {tree!r} is not allowed") from error
    raise InvalidInput(f"{place} has the wrong type {_json_name(tree)}")


def _json_name(tree: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return names.get(type(tree), "null" if tree is None else "a number")


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@functools.cache
def _fields(kind: Any) -> tuple[tuple[str, dataclasses.Field[Any]], ...]:
    return tuple(
        (field.metadata.get("json") or _camel(field.name), field)
        for field in dataclasses.fields(kind)
    )


def _camel(name: str) -> str:
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(part.capitalize() for part in rest)
