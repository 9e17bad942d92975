"""Signed requests and logins: who gets in, and what everybody else is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kontor.paper.auth import LOGIN_PATH, Gatekeeper, iso_timestamp, sign
from kontor.paper.model import AccountInfo
from kontor.paper.replies import Refusal

NOW = 1_795_000_000_000
OWNER = AccountInfo("main", "1001", "1001", "key", "secret", "phrase", None, ("read_only", "trade"))
TARGET = "/api/v5/trade/order?instId=BTC-USD&ordId=1"


@pytest.fixture
def gate() -> Gatekeeper:
    return Gatekeeper({"key": OWNER}.get)


def signed(at_ms: int = NOW, method: str = "GET", target: str = TARGET, body: str = "") -> dict[str, str]:
    stamp = iso_timestamp(at_ms)
    return {
        "OK-ACCESS-KEY": "key",
        "OK-ACCESS-PASSPHRASE": "phrase",
        "OK-ACCESS-TIMESTAMP": stamp,
        "OK-ACCESS-SIGN": sign("secret", stamp + method + target + body),
    }


def code_of(act: Callable[[], Any]) -> str:
    with pytest.raises(Refusal) as caught:
        act()
    return caught.value.code


def test_the_signature_is_the_one_okx_documents() -> None:
    """The value `openssl dgst -sha256 -hmac` gives: if ours drifts, no real client gets in."""
    assert sign("22582BD0CFF14C41EDBF1AB98506286D", "2020-12-08T09:08:57.715ZGET/api/v5/account/balance?ccy=BTC") == (
        "HiZhvSfMtWJA3uUIVXV3a/bSXNPCWvYFXoGCVS8V4zY="
    )


def test_a_correctly_signed_request_speaks_for_its_account(gate: Gatekeeper) -> None:
    """The whole point of the signature."""
    assert gate.check_request(signed(), "GET", TARGET, "", [NOW]) == "main"
    body = '{"instId":"BTC-USD"}'
    headers = signed(method="POST", target="/api/v5/trade/order", body=body)
    assert gate.check_request(headers, "POST", "/api/v5/trade/order", body, [NOW]) == "main"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("OK-ACCESS-KEY", "50103"),
        ("OK-ACCESS-PASSPHRASE", "50104"),
        ("OK-ACCESS-SIGN", "50106"),
        ("OK-ACCESS-TIMESTAMP", "50107"),
    ],
)
def test_each_missing_header_has_its_own_code(gate: Gatekeeper, header: str, code: str) -> None:
    """Clients tell a forgotten passphrase from a forgotten key by these."""
    headers = {name: value for name, value in signed().items() if name != header}
    assert code_of(lambda: gate.check_request(headers, "GET", TARGET, "", [NOW])) == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"OK-ACCESS-KEY": "other"}, "50111"),
        ({"OK-ACCESS-PASSPHRASE": "wrong"}, "50105"),
        ({"OK-ACCESS-SIGN": "wrong"}, "50113"),
        ({"OK-ACCESS-SIGN": "größer"}, "50113"),
        ({"OK-ACCESS-TIMESTAMP": "yesterday"}, "50112"),
    ],
)
def test_each_wrong_header_has_its_own_code(gate: Gatekeeper, change: dict[str, str], code: str) -> None:
    """A wrong secret must not look like an unknown key."""
    assert code_of(lambda: gate.check_request({**signed(), **change}, "GET", TARGET, "", [NOW])) == code


@pytest.mark.parametrize("tampered", [("POST", TARGET, ""), ("GET", TARGET + "&x=1", ""), ("GET", TARGET, "{}")])
def test_a_signature_covers_method_path_query_and_body(gate: Gatekeeper, tampered: tuple[str, str, str]) -> None:
    """Whatever is changed on the way breaks the signature."""
    assert code_of(lambda: gate.check_request(signed(), *tampered, [NOW])) == "50113"


@pytest.mark.parametrize(("off_ms", "accepted"), [(-30_000, True), (30_000, True), (-30_001, False), (30_001, False)])
def test_a_timestamp_may_be_thirty_seconds_off(gate: Gatekeeper, off_ms: int, accepted: bool) -> None:
    """OKX's window, to the millisecond, on both sides."""
    headers = signed(NOW + off_ms)
    if accepted:
        assert gate.check_request(headers, "GET", TARGET, "", [NOW]) == "main"
    else:
        assert code_of(lambda: gate.check_request(headers, "GET", TARGET, "", [NOW])) == "50102"


def test_a_client_may_go_by_the_wall_or_by_the_venues_fast_clock(gate: Gatekeeper) -> None:
    """With a clock speed factor the two differ by hours, and a client may honestly use either."""
    fast = NOW + 7_200_000
    assert gate.check_request(signed(NOW), "GET", TARGET, "", [NOW, fast]) == "main"
    assert gate.check_request(signed(fast), "GET", TARGET, "", [NOW, fast]) == "main"
    assert code_of(lambda: gate.check_request(signed(NOW + 3_600_000), "GET", TARGET, "", [NOW, fast])) == "50102"


def login(**change: str) -> dict[str, str]:
    stamp = str(NOW // 1000)
    return {
        "apiKey": "key",
        "passphrase": "phrase",
        "timestamp": stamp,
        "sign": sign("secret", stamp + LOGIN_PATH),
        **change,
    }


def test_a_login_speaks_for_its_account(gate: Gatekeeper) -> None:
    """The same key opens the private socket."""
    assert gate.check_login(login(), [NOW]) == "main"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"apiKey": "other"}, "60005"),
        ({"passphrase": "wrong"}, "60024"),
        ({"sign": "wrong"}, "60007"),
        ({"timestamp": "soon"}, "60004"),
        ({"timestamp": str(NOW // 1000 - 31)}, "60006"),
    ],
)
def test_each_wrong_login_has_its_own_code(gate: Gatekeeper, change: dict[str, str], code: str) -> None:
    """The codes of the 60000s, which ccxt maps to AuthenticationError and InvalidNonce."""
    assert code_of(lambda: gate.check_login(login(**change), [NOW])) == code


def test_secrets_do_not_show_in_an_accounts_repr() -> None:
    """What is logged by accident must not open an account."""
    assert "secret" not in repr(OWNER).replace("secret=", "")
    assert "phrase'" not in repr(OWNER)
