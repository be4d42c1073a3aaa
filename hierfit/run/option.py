"""What the text of an option on the command line means."""

from __future__ import annotations

from typing import Any

import yaml


def option_value(text: str) -> Any:
    """YAML, and a number also where YAML 1.1 sees text, as in ``1e-3``."""
    try:
        value = yaml.safe_load(text)
        return float(value) if isinstance(value, str) else value
    except (yaml.YAMLError, ValueError):
        return text
