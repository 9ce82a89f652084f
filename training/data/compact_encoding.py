"""The only JSON that hokku ever writes; what finds an answer's values in it counts on its form."""

import json
from typing import Any


def render_json(value: Any) -> str:
    """Compact, keys in the given order, non-ASCII as it is: the only JSON that hokku ever writes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
