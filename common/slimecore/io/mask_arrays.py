"""Read masks that are stored as NumPy arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.user_files import require_regular

__all__ = ["load_npy", "whole_numbers"]


def load_npy(path: Path, max_pixels: int) -> Array:
    """Read a ``.npy`` file of (h, w) integers, whole floats or booleans as int64.

    Raises
    ------
    InputError
        The file is missing, unreadable, too large, or holds anything else.
    """
    try:
        array = np.load(require_regular(path), mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, OverflowError) as error:
        raise InputError(f"cannot read {path} as a plain NumPy array of integers; save it with np.save") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path}: several arrays (npz) instead of one; save the mask with np.save")
    if array.ndim != 2:
        raise InputError(f"{path}: a mask array must be (h, w), got {array.shape}")
    if not 0 < array.size <= max_pixels:
        raise InputError(f"{path}: a mask array holds 1 to {max_pixels} pixels, got {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        return whole_numbers(array, path)
    if not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise InputError(f"{path}: a mask array must hold integers or booleans, got {array.dtype}")
    return np.array(array, np.int64)


def whole_numbers(array: Array, path: Path) -> Array:
    """Return floats as int64.

    Raises
    ------
    InputError
        A float is not whole.
    """
    if not (np.isfinite(array).all() and (np.abs(array) < 2**53).all() and (array == array.round()).all()):
        raise InputError(f"{path}: a mask array must hold integers or booleans, got fractions in {array.dtype}")
    return np.asarray(array.astype(np.int64))
