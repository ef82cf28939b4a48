"""Decide if a result is still valid: everything it was made of must be as recorded.

Video runs, DAVIS runs and mesh batches record components by name: settings, hashes of files and code, versions. All of
them ask :func:`stale_reason` before they keep a result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeGuard

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
        (``settings.seed 0 -> 1``). Of a table of hashes, the names that changed are named.
    """
    keys = [key for key in {**current, **recorded} if recorded.get(key) != current.get(key)]
    explained = [texts[key] for key in keys if key in texts]
    if explained:
        return explained[0]
    hashes, shown_before, shown_now = [], {}, {}
    for key in keys:
        before, now = recorded.get(key), current.get(key)
        if _is_hash(before) or _is_hash(now):
            hashes.append(key)
        elif _is_hash_table(before) and _is_hash_table(now):
            hashes += sorted(name for name in {**before, **now} if before.get(name) != now.get(name))
        else:
            shown_before[key], shown_now[key] = before, now
    values = describe_changes(shown_before, shown_now)
    return ", ".join(text for text in (values, f"{', '.join(hashes)} changed" if hashes else "") if text)


def _is_hash_table(value: object) -> TypeGuard[Mapping[str, str]]:
    """Tell if a value is a mapping of names, for instance of files, to hashes."""
    return isinstance(value, Mapping) and all(_is_hash(item) for item in value.values())


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
