"""The desk's page: candles, orders, equity and health in a browser, read-only, over one small server."""

from kontor.web.server import CannotStart, WebServer, run_web
from kontor.web.settings import WebSettings

__all__ = ["CannotStart", "WebServer", "WebSettings", "run_web"]
