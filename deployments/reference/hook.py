"""What MkDocs calls while it builds: it writes the reference, and adds pages that the navigation does not name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from deployments.project import Project
from deployments.reference import command_page, flow_page, settings_page
from deployments.reference.pictures import without_mermaid

OTHERS = "More"


def generated(project: Project) -> dict[str, str]:
    """Path to text of each page that is written from the code."""
    return {
        "reference/commands.md": command_page.page(),
        "reference/settings.md": settings_page.page(),
        "reference/flows.md": flow_page.page(project),
    }


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """A new page is in the navigation from the start, if only at its end."""
    named = set(_pages(config.nav))
    root = Path(config.docs_dir)
    there = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.md"))
    if others := [path for path in there if path not in named]:
        config.nav = [*(config.nav or []), {OTHERS: others}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The reference beside the pages that people wrote."""
    project = Project(Path(config.config_file_path).parent)
    for path, text in generated(project).items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs calls it so
    """Nothing is drawn by scripts from elsewhere."""
    return without_mermaid(markdown)


def _pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inside = nav.values() if isinstance(nav, dict) else nav or []
    return [path for each in inside for path in _pages(each)]
