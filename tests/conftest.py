"""What tests of several folders share."""

import pytest

# One desk for the end-to-end and the browser tests: a fixture in two conftests would be two desks.
pytest_plugins = ["tests.support.desk"]

# Quick ones first; what shares a server or a desk together, so that neither runs beside tests that have no use for it.
ORDER = ("unit", "contract", "chaos", "flows/blocks", "flows/updaters", "flows/worker", "flows/desk", "browser")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the folders in order; within a folder pytest's own order stays."""
    root = config.rootpath / "tests"

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(root).as_posix() if item.path.is_relative_to(root) else ""
        return next((number for number, folder in enumerate(ORDER) if path.startswith(f"{folder}/")), len(ORDER))

    items.sort(key=place)
