"""Decide if a result is still valid: everything it was made of must be as recorded.

Video runs, DAVIS runs and mesh batches record components by name: settings, hashes of files and code, versions. All of
them ask :func:`stale_reason` before they keep a result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from slimecore.config import describe_changes

__all__ = ["stale_reason"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NO_TEXTS: Mapping[str, str] = MappingProxyType({})


def stale_reason(recorded: Mapping[str, Any], current: Mapping[str, Any], texts: Mapping[str, str] = _NO_TEXTS) -> str:
    """Explain why a result is out of date.

    Parameters
    ----------
    recorded, current : mapping of str to JSON value
        Components of the result as recorded, and at present.
    texts : mapping of str to str, optional
        Explanations of changed components. The first that applies is returned.

    Returns
    -------
    str
        Empty if the result is valid. Changed hashes are named (``mesh, masks changed``), other values are shown
        (``settings.seed 0 -> 1``).
    """
    keys = [key for key in {**current, **recorded} if recorded.get(key) != current.get(key)]
    explained = [texts[key] for key in keys if key in texts]
    if explained:
        return explained[0]
    hashes = [key for key in keys if _is_hash(recorded.get(key)) or _is_hash(current.get(key))]
    others = [key for key in keys if key not in hashes]
    values = describe_changes({k: recorded.get(k) for k in others}, {k: current.get(k) for k in others})
    return ", ".join(text for text in (values, f"{', '.join(hashes)} changed" if hashes else "") if text)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
