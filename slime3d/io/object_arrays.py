"""Integer arrays out of ``.npy`` files of Python objects (PartNet-E's ``label.npy``), without running any of them.

Such a file is a program for Python's unpickler, which may call anything. Here its steps are only read: lists, dicts,
texts, numbers and numpy arrays of whole numbers are built, and every other step ends the reading.
"""

from __future__ import annotations

import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from slimecore.array_types import Array

__all__ = ["read_object_array"]

_MARK = object()
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED = {"PROTO", "FRAME"}
_ARRAY, _BUFFER, _DTYPE, _TEXT = "array", "array of a buffer", "type", "bytes"
_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _ARRAY,
    ("numpy._core.multiarray", "_reconstruct"): _ARRAY,
    ("numpy.core.numeric", "_frombuffer"): _BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _BUFFER,
    ("numpy", "dtype"): _DTYPE,
    ("numpy", "ndarray"): "class",
    ("_codecs", "encode"): _TEXT,
}


class _Made:
    """An array or type under construction."""

    def __init__(self, kind: str, arguments: Any) -> None:
        self.kind, self.arguments = kind, arguments
        self.state: tuple[Any, ...] = ()


def read_object_array(path: Path) -> Any:
    """What a ``.npy`` of one object holds: dicts and lists of texts, numbers and integer arrays.

    Raises
    ------
    ValueError
        Anything else is in it.
    """
    with path.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        if not dtype.hasobject or shape != ():
            raise ValueError(f"expected one object, got {dtype} {shape}")
        return _plain(_Reader().read(stream.read()))


class _Reader:
    """The unpickler's stack, for the few steps that plain data needs."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, data: bytes) -> Any:
        for step, argument, _ in pickletools.genops(data):
            if step.name == "STOP":
                break
            self._take(step.name, argument)
        return self._stack[-1]

    def _take(self, name: str, argument: Any) -> None:
        if name in _IGNORED:
            return
        if name in _VALUES:
            self._stack.append(_VALUES[name])
        elif name == "MARK":
            self._stack.append(_MARK)
        elif name.startswith(("BININT", "SHORT_BIN", "BINUNICODE", "BINBYTES", "BYTEARRAY", "LONG1")):
            self._stack.append(argument)
        elif name in {"MEMOIZE", "BINPUT", "LONG_BINPUT"}:
            self._memo[len(self._memo) if argument is None else argument] = self._stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            self._stack.append(self._memo[argument])
        else:
            self._combine(name, argument)

    def _combine(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name.startswith(("EMPTY_", "TUPLE")):
            empty: dict[str, Any] = {"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}
            parts = [stack.pop() for _ in range(int(name[5:]))][::-1] if name[5:].isdecimal() else []
            stack.append(empty[name] if name in empty else tuple(parts or self._marked()))
        elif name in {"SETITEM", "SETITEMS"}:
            items = self._marked() if name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name in {"APPEND", "APPENDS"}:
            items = self._marked() if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(items)
        elif name in {"GLOBAL", "STACK_GLOBAL"}:
            module, word = argument.split(" ") if name == "GLOBAL" else [stack.pop(), stack.pop()][::-1]
            if (module, word) not in _NAMES:
                raise ValueError(f"it would call {module}.{word}")
            stack.append(_NAMES[module, word])
        elif name == "REDUCE":
            arguments, kind = stack.pop(), stack.pop()
            stack.append(_Made(kind, arguments))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].state = state
        else:
            raise ValueError(f"step {name} is more than plain data")

    def _marked(self) -> list[Any]:
        at = len(self._stack) - 1 - self._stack[::-1].index(_MARK)
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items


def _plain(value: Any) -> Any:
    """Values with arrays finished."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if not isinstance(value, _Made):
        return value
    if value.kind == _TEXT:  # bytes, as old protocols have them
        return str(value.arguments[0]).encode("latin-1")
    if value.kind == _BUFFER:
        data, dtype, shape, order = value.arguments
        return _whole(_plain(data), dtype, shape, turned=order == "F")
    if value.kind != _ARRAY or len(value.state) != 5:
        raise ValueError("a bare numpy type")
    _, shape, dtype, turned, data = value.state
    if str(dtype.arguments[0]).startswith("O"):
        items = _plain(data)
        return items[0] if shape == () else items
    return _whole(_plain(data), dtype, shape, turned=bool(turned))


def _whole(data: bytes, dtype: _Made, shape: tuple[int, ...], *, turned: bool) -> Array:
    kind = np.dtype(str(dtype.arguments[0]))
    if kind.kind not in "iub":
        raise ValueError(f"an array of {kind}")
    big = len(dtype.state) > 1 and dtype.state[1] == ">"
    return np.frombuffer(data, kind.newbyteorder(">" if big else "<")).reshape(shape, order="F" if turned else "C")
