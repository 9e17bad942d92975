"""The check before every `prefect deploy`: a build step of prefect.yaml, which stops it with every mistake at once."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

from deployments.checking.project import check_files
from deployments.project import Project


def check_before_deploy() -> dict[str, Any]:
    """Check kontor.yaml and prefect.yaml; ends the command with one line for each mistake."""
    project = Project.find()
    stamps = tuple(_stamp(path) for path in (project.config_file, project.deployments_file))
    # Prefect takes the step once for each deployment.
    _check(project, stamps)
    return {}


@functools.lru_cache(maxsize=1)
def _check(project: Project, stamps: tuple[Any, ...]) -> None:
    del stamps
    check = check_files(project.config_file, project.deployments_file)
    for sentence in [*check.remarks, *(str(each) for each in check.problems if not each.blocks)]:
        print(f"kontor: {sentence}", file=sys.stderr)  # noqa: T201 - Prefect's command line shows it
    if check.blocking:
        raise SystemExit("\n".join(str(each) for each in check.blocking))


def _stamp(path: os.PathLike[str]) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - of anything that has a path
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
