"""What tests of several folders share."""

import pytest

# One desk for the end-to-end and the browser tests: a fixture in two conftests would be two desks.
pytest_plugins = ["tests.support.desk"]

# Quick ones first when one process runs them all; the browser before the desk's own tests, whose last takes it down.
ORDER = ("unit", "contract", "chaos", "flows/blocks", "flows/updaters", "flows/worker", "browser", "flows/desk")
# What shares a server or a desk stays in one process; any other file is a unit of its own.
TOGETHER = {"flows/desk": "desk", "browser": "desk", "flows/blocks": "prefect", "flows/updaters": "prefect"}
# These bring up desks of their own.
APART = {"flows/desk/test_imported_desk.py", "flows/desk/test_lifecycle.py"}


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the folders in order, and say which tests belong together; within a folder pytest's own order stays.

    With several processes the longest groups come first, so that the quick ones fill up what is left at the end.
    """
    root = config.rootpath / "tests"
    places: dict[pytest.Item, int] = {}
    groups: dict[pytest.Item, str] = {}
    last: dict[str, int] = {}
    for item in items:
        path = item.path.relative_to(root).as_posix() if item.path.is_relative_to(root) else ""
        folder = next((folder for folder in ORDER if path.startswith(f"{folder}/")), "")
        place = places[item] = ORDER.index(folder) if folder else len(ORDER)
        shared = TOGETHER.get(folder, folder if folder == "flows/worker" else path)
        group = groups[item] = path if path in APART else shared
        last[group] = max(place, last.get(group, place))
        item.add_marker(pytest.mark.xdist_group(group))
    has_company = hasattr(config, "workerinput") or bool(getattr(config.option, "numprocesses", None))
    items.sort(key=lambda item: (-last[groups[item]], places[item]) if has_company else (places[item], 0))
