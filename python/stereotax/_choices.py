"""Write settings down in the words of the study file, which the extension reads as a study file."""

from __future__ import annotations

import json
from typing import Any

import numpy as np


def choices(settings: dict[str, Any], place: str) -> str:
    """Lines such as `rank = "energy:0.99"`; settings that are None are left to their defaults."""
    return "\n".join(
        f"{key} = {_value(value, key, place)}" for key, value in settings.items() if value is not None
    )


def _value(value: Any, key: str, place: str) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        members = (
            f"{name} = {_value(member, name, place)}" for name, member in value.items() if member is not None
        )
        return f"{{ {', '.join(members)} }}"
    if isinstance(value, list | tuple | np.ndarray):
        return f"[{', '.join(_value(member, key, place) for member in value)}]"
    raise ValueError(
        f"`{key}` in {place} is {value!r}, but a word, a number or a list of them expected\n"
        "hint: the words are those of the study file, such as 'energy:0.99'"
    )
