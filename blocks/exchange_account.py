"""The block ExchangeAccount: which exchange, with which key, and whether with real money."""

import re
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from blocks.base import KontorBlock
from kontor.ports import ExchangeSettings

WITHDRAWALS_ACCEPTED = "I accept that this key may withdraw"


class ExchangeUrls(BaseModel):
    """Other addresses than the exchange's own."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    rest: str = Field(default="", title="REST address", description="Such as http://127.0.0.1:8400; empty: its own.")
    ws: str = Field(default="", title="WebSocket address", description="Such as ws://127.0.0.1:8400; empty: its own.")

    @field_validator("rest")
    @classmethod
    def _http(cls, value: str) -> str:
        return _address(value, ("http", "https"))

    @field_validator("ws")
    @classmethod
    def _websocket(cls, value: str) -> str:
        return _address(value, ("ws", "wss"))


class ExchangeAccount(KontorBlock):
    """One account at one exchange."""

    _block_type_name: ClassVar[str | None] = "Kontor Exchange Account"
    _block_type_slug: ClassVar[str | None] = "kontor-exchange-account"
    _description: ClassVar[str | None] = "One account at one exchange: keys, addresses, and paper or live."

    exchange_id: str = Field(
        title="Exchange",
        description="Its ccxt id, such as okx, binance or kraken. The paper exchange is okx with other addresses.",
        examples=["okx"],
    )
    mode: Literal["paper", "live"] = Field(
        default="paper", title="Mode", description="live trades real money; paper needs a sandbox or its own address."
    )
    api_key: SecretStr = Field(default=SecretStr(""), title="API key", description="The key the exchange gave you.")
    secret: SecretStr = Field(default=SecretStr(""), title="API secret", description="The secret that came with it.")
    password: SecretStr = Field(
        default=SecretStr(""), title="Passphrase", description="Only where the exchange wants one, as OKX does."
    )
    withdrawals: str = Field(
        default="",
        title="Withdrawals",
        description=f"A live key that may withdraw is refused, unless this says: {WITHDRAWALS_ACCEPTED}",
    )
    sandbox: bool = Field(
        default=False, title="Sandbox", description="Use the exchange's own test venue, where it has one."
    )
    urls: ExchangeUrls = Field(
        default_factory=ExchangeUrls, title="Addresses", description="Only for the paper exchange or a proxy."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        title="ccxt options",
        description='Passed to ccxt as they are, such as {"defaultType": "swap"}. Never put a secret here.',
    )
    capital_currency: str = Field(
        default="USD",
        title="Capital currency",
        description="The currency that capital and limits are counted in.",
    )
    requests_per_second: float | None = Field(
        default=None,
        title="Requests per second",
        description="What all processes of the desk may spend together; empty takes the exchange's own figure.",
        gt=0,
        le=1000,
    )

    @field_validator("exchange_id")
    @classmethod
    def _ccxt_id(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9]*", value):
            raise ValueError("must be a ccxt exchange id in lower-case letters and digits, such as okx")
        return value

    @field_validator("withdrawals")
    @classmethod
    def _in_words(cls, value: str) -> str:
        said = " ".join(value.split()).rstrip(".")
        if said and said.lower() != WITHDRAWALS_ACCEPTED.lower():
            raise ValueError(f"must be empty, or say in these words: {WITHDRAWALS_ACCEPTED}")
        return said

    @field_validator("capital_currency")
    @classmethod
    def _currency(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Z0-9]{2,12}", value):
            raise ValueError("must be a currency code in capital letters, such as USD")
        return value

    @model_validator(mode="after")
    def _mode_matches_the_rest(self) -> "ExchangeAccount":
        if self.mode == "paper" and not (self.sandbox or self.urls.rest):
            raise ValueError(
                "mode paper needs the paper exchange's address under urls.rest, or sandbox, else orders would "
                "reach the real exchange; give one of them, or set mode to live"
            )
        if self.mode == "live" and self.sandbox:
            raise ValueError("mode live and sandbox exclude each other; turn one of them off")
        if self.mode == "live" and not (self.api_key.get_secret_value() and self.secret.get_secret_value()):
            raise ValueError("mode live needs api_key and secret; enter both")
        return self

    def to_settings(self, account: str) -> ExchangeSettings:
        """What the exchange adapter needs to open this account under the name `account`."""
        return ExchangeSettings(
            exchange_id=self.exchange_id,
            account=account,
            api_key=self.api_key.get_secret_value(),
            secret=self.secret.get_secret_value(),
            password=self.password.get_secret_value(),
            sandbox=self.sandbox,
            mode=self.mode,
            may_withdraw=bool(self.withdrawals),
            urls={kind: address for kind, address in self.urls.model_dump().items() if address},
            options=dict(self.options),
            capital_currency=self.capital_currency,
            requests_per_second=self.requests_per_second,
        )


def _address(value: str, schemes: tuple[str, ...]) -> str:
    value = value.strip().rstrip("/")
    if not value:
        return ""
    parts = urlsplit(value)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)} and name a host")
    return value
