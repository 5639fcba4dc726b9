"""What the documentation shows."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path


def blocks(document: Path, language: str) -> list[str]:
    """The blocks of code in this language, in their order."""
    found = re.findall(rf"(?ms)^( *)```{language}\n(.*?)^ *```", document.read_text())
    return [textwrap.dedent(text) for _, text in found]
