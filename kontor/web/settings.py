"""What the desk's page needs to know: where it listens, who may look, and how often it looks itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from kontor.errors import ConfigError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The settings of one page; raises ConfigError without a password, since whoever sees the page sees the account."""

    #: What opens the page, the same line that opens Prefect's UI.
    password: str = field(repr=False)
    port: int = 0
    host: str = LOOPBACK
    #: The https:// address people type when something with TLS stands in front; empty when nothing does.
    public_url: str = ""
    #: How long somebody stays signed in.
    session: timedelta = timedelta(hours=12)
    #: How often the store is looked at while somebody looks at the page.
    look_every: timedelta = timedelta(seconds=1)
    #: How many may look at once.
    max_clients: int = 20

    def __post_init__(self) -> None:
        if not self.password:
            raise ConfigError("the page is for those who know the desk's password, and there is none", where="web")

    def hosts(self, port: int) -> frozenset[str]:
        """What a browser may call this server: anything else is a name that somebody else has pointed at it."""
        own = {f"{LOOPBACK}:{port}", f"localhost:{port}"}
        return frozenset(own | {self.public_url.removeprefix("https://")} if self.public_url else own)

    def origins(self, port: int) -> frozenset[str]:
        """The origins whose pages may sign in and open the live connection."""
        own = {f"http://{LOOPBACK}:{port}", f"http://localhost:{port}"}
        return frozenset(own | {self.public_url} if self.public_url else own)
