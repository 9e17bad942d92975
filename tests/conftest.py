"""What tests of several folders share."""

from typing import Any

import pytest

# One desk for the end-to-end and the browser tests: a fixture in two conftests would be two desks.
pytest_plugins = ["tests.support.desk"]

# Quick ones first when one process runs them all; the browser before the desk's own tests, whose last takes it down.
ORDER = ("unit", "contract", "chaos", "flows/blocks", "flows/updaters", "flows/worker", "browser", "flows/desk")
# What shares a server or a desk stays in one process; any other file is a unit of its own.
TOGETHER = {
    "flows/desk": "desk",
    "browser": "desk",
    "flows/blocks": "blocks",
    "flows/updaters": "updaters",
    "flows/worker": "worker",
}
# These bring up a desk of their own, or need none.
APART = {"flows/desk/test_imported_desk.py", "browser/test_documentation.py"}


def folder_of(nodeid: str) -> str:
    """The folder in ORDER that a test is in; nothing for one in none of them."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    return next((folder for folder in ORDER if path.startswith(f"{folder}/")), "")


def group_of(nodeid: str) -> str:
    """The tests that this one has to share a process with, by a name."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    return path if path in APART else TOGETHER.get(folder_of(nodeid), path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the folders in order; within a folder pytest's own order stays.

    With several processes the longest groups come first, so that the quick ones fill up what is left at the end.
    """
    places = {item: ORDER.index(folder) if (folder := folder_of(item.nodeid)) else len(ORDER) for item in items}
    last: dict[str, int] = {}
    for item, place in places.items():
        group = group_of(item.nodeid)
        last[group] = max(place, last.get(group, place))
    has_company = hasattr(config, "workerinput") or bool(getattr(config.option, "numprocesses", None))
    items.sort(key=lambda item: (-last[group_of(item.nodeid)] if has_company else 0, places[item]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole groups to each process, in our order.

    Not by `--dist loadgroup`: the marks it goes by do not get as far as this pytest's node ids.
    """
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return GroupScheduling(config, log)
