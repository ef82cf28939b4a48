"""Read part names from a JSON file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from slimecore.errors import InputError
from slimecore.user_files import require_regular

__all__ = ["read_names"]


def read_names(path: Path) -> dict[int, str]:
    """Read part names by value from a JSON object ``{"1": "head", ...}``.

    Raises
    ------
    InputError
        The file is missing, is not JSON, or does not map part values to names, each once.
    """
    try:
        raw = json.loads(require_regular(path).read_text(encoding="utf-8-sig"), object_pairs_hook=tuple)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}; --names takes a JSON file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); --names takes a JSON file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text; {_EXPECTED}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {_EXPECTED}") from error
    if not isinstance(raw, tuple):  # an object
        raise InputError(f"{path}: {_EXPECTED}")
    names: dict[int, str] = {}
    for key, name in raw:
        value = _part_value(key, path)
        if value in names:
            raise InputError(f"{path}: names part {value} twice; keep one name")
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise InputError(f"{path}: the name of part {value} is {_shown(name)}; give it a line of text")
        names[value] = name
    return names


_EXPECTED = 'expected a JSON object of part values and names, such as {"1": "head", "2": "tail"}'


def _part_value(key: str, path: Path) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,5}\s*", key):
        raise InputError(f"{path}: {_shown(key)} is no part value; {_EXPECTED}")
    return int(key)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
