"""Integer arrays from ``.npy`` files of Python objects (PartNet-E's ``label.npy``), without unpickling.

A pickle is a program for Python's unpickler and may call any function. This reader interprets its opcodes itself. It
builds lists, dicts, strings, numbers and integer arrays of numpy, and refuses every other opcode.
"""

from __future__ import annotations

import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from slimecore.array_types import Array

__all__ = ["read_object_array"]

_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED_OPCODES = {"PROTO", "FRAME"}
_ARRAY, _BUFFER, _DTYPE, _TEXT = "array", "array of a buffer", "type", "bytes"
_ALLOWED_GLOBALS = {
    ("numpy.core.multiarray", "_reconstruct"): _ARRAY,
    ("numpy._core.multiarray", "_reconstruct"): _ARRAY,
    ("numpy.core.numeric", "_frombuffer"): _BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _BUFFER,
    ("numpy", "dtype"): _DTYPE,
    ("numpy", "ndarray"): "class",
    ("_codecs", "encode"): _TEXT,
}


class _Unfinished:
    """Array or type under construction."""

    def __init__(self, kind: str, arguments: Any) -> None:
        self.kind, self.arguments = kind, arguments
        self.state: tuple[Any, ...] = ()


def read_object_array(path: Path) -> Any:
    """Read a ``.npy`` with a single object made of dicts, lists, strings, numbers and integer arrays.

    Raises
    ------
    ValueError
        The object contains anything else.
    """
    with path.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        if not dtype.hasobject or shape != ():
            raise ValueError(f"expected one object, got {dtype} {shape}")
        return _finish(_PickleReader().read(stream.read()))


class _PickleReader:
    """Stack machine for the pickle opcodes of plain data."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, data: bytes) -> Any:
        """Interpret a pickle and return its object."""
        for step, argument, _ in pickletools.genops(data):
            if step.name == "STOP":
                break
            self._take(step.name, argument)
        return self._stack[-1]

    def _take(self, name: str, argument: Any) -> None:
        if name in _IGNORED_OPCODES:
            return
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
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
            if (module, word) not in _ALLOWED_GLOBALS:
                raise ValueError(f"it would call {module}.{word}")
            stack.append(_ALLOWED_GLOBALS[module, word])
        elif name == "REDUCE":
            arguments, kind = stack.pop(), stack.pop()
            stack.append(_Unfinished(kind, arguments))
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


def _finish(value: Any) -> Any:
    """Replace arrays under construction by numpy arrays, recursively."""
    if isinstance(value, dict):
        return {key: _finish(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finish(item) for item in value]
    if not isinstance(value, _Unfinished):
        return value
    if value.kind == _TEXT:  # bytes in old pickle protocols
        return str(value.arguments[0]).encode("latin-1")
    if value.kind == _BUFFER:
        data, dtype, shape, order = value.arguments
        return _integer_array(_finish(data), dtype, shape, fortran_order=order == "F")
    if value.kind != _ARRAY or len(value.state) != 5:
        raise ValueError("a bare numpy type")
    _, shape, dtype, fortran_order, data = value.state
    if str(dtype.arguments[0]).startswith("O"):
        items = _finish(data)
        return items[0] if shape == () else items
    return _integer_array(_finish(data), dtype, shape, fortran_order=bool(fortran_order))


def _integer_array(data: bytes, dtype: _Unfinished, shape: tuple[int, ...], *, fortran_order: bool) -> Array:
    element_type = np.dtype(str(dtype.arguments[0]))
    if element_type.kind not in "iub":
        raise ValueError(f"an array of {element_type}")
    big_endian = len(dtype.state) > 1 and dtype.state[1] == ">"
    return np.frombuffer(data, element_type.newbyteorder(">" if big_endian else "<")).reshape(
        shape, order="F" if fortran_order else "C"
    )
