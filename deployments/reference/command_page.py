"""The command line as a page, from the commands themselves."""

from __future__ import annotations

import re

from deployments.cli import app

HEAD = """# Commands

Every command of `kontor`, as `kontor COMMAND --help` says it.

"""
# The site has a table of contents of its own.
_CONTENTS = re.compile(r"^## Table of Contents\n.*?(?=^\*\*Commands\*\*)", re.MULTILINE | re.DOTALL)


def page() -> str:
    """The page in Markdown."""
    written = app.generate_docs(output_format="markdown").strip()
    return HEAD + _CONTENTS.sub("", written.removeprefix("# kontor")).strip() + "\n"
