"""The files of the page: ours, and the chart library's script as its package ships it; nothing from anywhere else."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

from kontor.errors import KontorError

FOLDER = Path(__file__).parent / "static"
PLOTLY = "plotly.min.js"
#: Files by name; whatever else is asked for is not there, wherever a path may lead.
KINDS = {
    "desk.html": "text/html",
    "page.css": "text/css",
    "desk.css": "text/css",
    "plotly.css": "text/css",
    "desk.js": "text/javascript",
    "charts.js": "text/javascript",
    "tables.js": "text/javascript",
    PLOTLY: "text/javascript",
}


@functools.cache
def plotly_script() -> Path:
    """The script in the installed package; raises KontorError when it is not there."""
    # Found, not imported: the page draws in the browser and needs none of its Python.
    spec = find_spec("plotly")
    path = Path(spec.origin).parent / "package_data" / PLOTLY if spec and spec.origin else None
    if path is None or not path.is_file():
        raise KontorError("the chart library is missing: install what requirements.lock says (make venv)")
    return path


def answer(name: str) -> web.StreamResponse:
    """A file of the page, which a browser asks for again each time, and gets when it has changed."""
    kind = KINDS.get(name)
    if kind is None:
        return web.Response(status=404, text="there is no such file\n")
    path = plotly_script() if name == PLOTLY else FOLDER / name
    headers = {"Content-Type": f"{kind}; charset=utf-8", "Cache-Control": "private, no-cache"}
    return web.FileResponse(path, headers=headers)


def login_page(*, was_wrong: bool) -> web.Response:
    """Where one signs in, with a word about the last try if that failed."""
    text = (FOLDER / "login.html").read_text(encoding="utf-8")
    word = '<p class="wrong" role="alert">That is not the password.</p>' if was_wrong else ""
    return web.Response(text=text.replace("<!-- trouble -->", word), content_type="text/html")
