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
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Union

from workbench.errors import InvalidInput

T = TypeVar("T")
_MISSING = dataclasses.MISSING
_SCALARS = frozenset({str, int, float, bool, type(None)})


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
    kind: Any = type(value)
    if kind in _SCALARS:
        return value
    if dataclasses.is_dataclass(kind):
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
    return _decoder(kind)(tree, place)


# From a JSON tree and its place to a value.
Decoder = Callable[[Any, str], Any]


@functools.cache
def _decoder(kind: Any) -> Decoder:
    """How trees of one type are read, found out once for each type."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return _keep
    if origin in (Union, types.UnionType):
        return _union_decoder(kind)
    if dataclasses.is_dataclass(kind):
        return functools.partial(_decode_dataclass, kind)
    if origin is tuple:
        return _tuple_decoder(typing.get_args(kind))
    if origin is not None and issubclass(origin, Mapping):
        return functools.partial(_decode_mapping, _decoder(typing.get_args(kind)[1]))
    return functools.partial(_decode_scalar, kind)


def _keep(tree: Any, _place: str) -> Any:
    return tree


def _union_decoder(kind: Any) -> Decoder:
    options = [option for option in typing.get_args(kind) if option is not type(None)]
    *first, last = (_decoder(option) for option in options)

    def read(tree: Any, place: str) -> Any:
        if tree is None:
            return None
        for option in first:
            try:
                return option(tree, place)
            except InvalidInput:
                continue
        return last(tree, place)

    return read


def _decode_dataclass(kind: Any, tree: Any, place: str) -> Any:
    if not isinstance(tree, dict):
        raise InvalidInput(f"{place} must be an object, not {_json_name(tree)}")
    values: dict[str, Any] = {}
    reading = _readers(kind)
    for name, attribute, read, optional in reading:
        item = tree.get(name)
        if item is not None:
            values[attribute] = read(item, f"{place}.{name}")
        elif not optional:
            raise InvalidInput(f"{place} lacks {name!r}")
    if "extra" in _hints(kind):
        known = {name for name, *_ in reading}
        values["extra"] = {name: item for name, item in tree.items() if name not in known}
    return kind(**values)


@functools.cache
def _readers(kind: Any) -> tuple[tuple[str, str, Decoder, bool], ...]:
    """For each field but ``extra``: its JSON name, its own, its decoder, whether it may lack."""
    hints = _hints(kind)
    return tuple(
        (name, field.name, _decoder(hints[field.name]), _has_default(field))
        for name, field in _fields(kind)
        if field.name != "extra"
    )


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not _MISSING or field.default_factory is not _MISSING


def _tuple_decoder(items: tuple[Any, ...]) -> Decoder:
    if items == (str, ...):
        return _decode_strings
    if items[-1] is Ellipsis:
        return functools.partial(_decode_array, _decoder(items[0]))
    return functools.partial(_decode_row, tuple(_decoder(item) for item in items))


def _decode_strings(tree: Any, place: str) -> tuple[str, ...]:
    _check_array(tree, place)
    for index, item in enumerate(tree):
        if type(item) is not str:
            raise InvalidInput(f"{place}[{index}] must be str, not {_json_name(item)}")
    return tuple(tree)


def _decode_array(read: Decoder, tree: Any, place: str) -> tuple[Any, ...]:
    _check_array(tree, place)
    return tuple([read(part, f"{place}[{index}]") for index, part in enumerate(tree)])


def _decode_row(reads: tuple[Decoder, ...], tree: Any, place: str) -> tuple[Any, ...]:
    _check_array(tree, place)
    if len(reads) != len(tree):
        raise InvalidInput(f"{place} must have {len(reads)} items, not {len(tree)}")
    pairs = zip(reads, tree, strict=True)
    return tuple([read(part, f"{place}[{index}]") for index, (read, part) in enumerate(pairs)])


def _check_array(tree: Any, place: str) -> None:
    if not isinstance(tree, list):
        raise InvalidInput(f"{place} must be an array, not {_json_name(tree)}")


def _decode_mapping(read: Decoder, tree: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(tree, dict):
        raise InvalidInput(f"{place} must be an object, not {_json_name(tree)}")
    return {name: read(part, f"{place}.{name}") for name, part in tree.items()}


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
