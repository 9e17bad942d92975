"""Diagrams written in Mermaid, for pages that load no script from elsewhere: as the table they say."""

from __future__ import annotations

import re

from deployments.reference.wording import table

_BLOCK = re.compile(r"^```mermaid\nstateDiagram-v2\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_ARROW = re.compile(r"^\s*(\S+) --> ([A-Z_]+)(?:: (.*))?$", re.MULTILINE)


def without_mermaid(markdown: str) -> str:
    """The page with each state diagram as a table of its transitions."""

    def rows(diagram: re.Match[str]) -> str:
        arrows = _ARROW.findall(diagram[1])
        return table(["from", "to", "when"], [("new" if a == "[*]" else a, b, why) for a, b, why in arrows]) + "\n"

    return _BLOCK.sub(rows, markdown)
