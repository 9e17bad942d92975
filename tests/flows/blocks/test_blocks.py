"""The blocks: one sentence for each mistake, forms a person can read, secrets that stay secret."""

import logging
import sqlite3
import traceback
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from pydantic import SecretStr, ValidationError

from blocks.exchange_account import ExchangeAccount
from blocks.loading import load_block
from blocks.notifiers import DiscordWebhook, TelegramBot
from blocks.state_store import StateStore
from kontor.config import describe
from kontor.errors import ConfigError
from kontor.notify import redact
from tests.support import discord, telegram

PAPER = {"exchange_id": "okx", "urls": {"rest": "http://127.0.0.1:8400", "ws": "ws://127.0.0.1:8400"}}
SECRET = "geheim-Ab3dEf6hIj"
WEBHOOK = f"https://discord.com/api/webhooks/{discord.WEBHOOK_ID}/{discord.TOKEN}"
BLOCKS: list[type[Block]] = [ExchangeAccount, StateStore, DiscordWebhook, TelegramBot]


@pytest.mark.parametrize(
    ("block_class", "values", "sentence"),
    [
        (ExchangeAccount, {"exchange_id": "okx"}, "mode paper needs the paper exchange's address"),
        (ExchangeAccount, {"exchange_id": "OKX!", "sandbox": True}, "exchange_id must be a ccxt exchange id"),
        (ExchangeAccount, {**PAPER, "mode": "demo"}, "mode input should be 'paper' or 'live'"),
        (ExchangeAccount, {**PAPER, "mode": "live"}, "mode live needs api_key and secret"),
        (ExchangeAccount, {"exchange_id": "okx", "mode": "live", "sandbox": True}, "mode live and sandbox exclude"),
        (ExchangeAccount, {**PAPER, "urls": {"rest": "127.0.0.1:8400"}}, "urls.rest must start with http://"),
        (ExchangeAccount, {**PAPER, "urls": {"rest": "http://x", "ws": "http://x"}}, "urls.ws must start with ws://"),
        (ExchangeAccount, {**PAPER, "urls": {"rset": "http://x"}}, "urls.rset is not a known key"),
        (ExchangeAccount, {**PAPER, "capital_currency": "dollars"}, "capital_currency must be a currency code"),
        (ExchangeAccount, {**PAPER, "requests_per_second": 0}, "requests_per_second input should be greater than 0"),
        (ExchangeAccount, {**PAPER, "api_keey": SECRET}, "api_keey is not a field of this block"),
        (StateStore, {"url": f"mysql://kontor:{SECRET}@db/kontor"}, "url must start with sqlite:// or postgresql://"),
        (DiscordWebhook, {"url": f"https://example.com/{SECRET}"}, "url the webhook URL must look like"),
        (DiscordWebhook, {}, "url field required"),
        (TelegramBot, {"token": SECRET, "chat_id": "1"}, "the bot token must look like"),
        (TelegramBot, {"token": telegram.TOKEN, "chat_id": "my chat"}, "the chat must be a number"),
    ],
)
def test_a_mistake_is_one_sentence_without_the_secret(
    block_class: type[Block], values: dict[str, Any], sentence: str
) -> None:
    """What was typed may be a secret, and the error ends in a log."""
    with pytest.raises(ValidationError) as caught:
        block_class(**values)
    said = describe(caught.value)
    assert sentence in said
    assert "; " not in said.replace("; give", "").replace("; add it", "").replace("; enter", "").replace(
        "; turn", ""
    ).replace("; remove", "").replace("; or", "")
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in said + shown
    assert telegram.TOKEN not in said + shown


def test_an_account_becomes_settings_for_the_exchange() -> None:
    """Everything the adapter needs, and no secret in its text form."""
    block = ExchangeAccount.model_validate(
        {**PAPER, "api_key": "k-123456", "secret": SECRET, "password": "p-123456", "options": {"defaultType": "swap"}}
    )
    settings = block.to_settings("paper")
    assert (settings.exchange_id, settings.account, settings.capital_currency) == ("okx", "paper", "USD")
    assert (settings.api_key, settings.secret, settings.password) == ("k-123456", SECRET, "p-123456")
    assert dict(settings.urls) == PAPER["urls"]
    assert dict(settings.options) == {"defaultType": "swap"}
    assert SECRET not in repr(settings) + str(settings)


def test_a_live_account_has_no_addresses_of_its_own() -> None:
    """Empty addresses mean the exchange's own, and ccxt must not see them."""
    block = ExchangeAccount.model_validate(
        {"exchange_id": "kraken", "mode": "live", "api_key": "k-1", "secret": SECRET}
    )
    assert dict(block.to_settings("main").urls) == {}


@pytest.mark.parametrize(("typed", "thread"), [({}, None), ({"thread_id": 0}, None), ({"thread_id": 7}, 7)])
def test_a_topic_is_a_number_and_none_is_nought(typed: dict[str, Any], thread: int | None) -> None:
    """The form shows one plain field; a block made before that holds null."""
    chat = {"token": telegram.TOKEN, "chat_id": "1"}
    assert TelegramBot.model_validate({**chat, **typed}).to_channel().thread_id == thread
    assert TelegramBot.model_validate({**chat, "thread_id": None}).to_channel().thread_id is None
    assert TelegramBot.model_json_schema()["properties"]["thread_id"]["type"] == "integer"


def test_the_store_is_a_file_in_the_home_unless_the_block_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An empty field in the form means the embedded store, wherever this process's home is."""
    monkeypatch.setenv("KONTOR_HOME", str(tmp_path))
    embedded = f"sqlite:///{tmp_path}/kontor.db"
    assert StateStore().url.get_secret_value() == embedded
    assert StateStore(url=SecretStr(" ")).url.get_secret_value() == embedded
    postgres = "postgresql://kontor:hunter2@db/kontor"
    assert StateStore(url=SecretStr(postgres)).url.get_secret_value() == postgres


@pytest.mark.parametrize("block_class", BLOCKS)
def test_every_field_has_a_title_and_an_explanation(block_class: type[Block]) -> None:
    """The form in the UI is all a person sees of a block."""
    for name, field in block_class.model_fields.items():
        assert field.title, name
        assert field.description, name
    assert block_class.get_description()
    assert block_class._logo_url is None  # the UI must not fetch anything from elsewhere


def test_the_slugs_are_the_documented_ones() -> None:
    """Automations, docs and saved blocks refer to them."""
    assert [block_class.get_block_type_slug() for block_class in BLOCKS] == [
        "kontor-exchange-account",
        "kontor-state-store",
        "kontor-discord-webhook",
        "kontor-telegram-bot",
    ]


def test_no_text_form_shows_a_secret() -> None:
    """Blocks are printed in shells, notebooks and tracebacks."""
    blocks = [
        ExchangeAccount.model_validate({**PAPER, "api_key": SECRET, "secret": SECRET, "password": SECRET}),
        StateStore(url=SecretStr(f"postgresql://kontor:{SECRET}@db/kontor")),
        DiscordWebhook(url=SecretStr(WEBHOOK)),
        TelegramBot(token=SecretStr(telegram.TOKEN), chat_id=telegram.CHAT),
    ]
    shown = "".join(f"{block!r} {block} {block.model_dump()} {block.model_dump_json()}" for block in blocks)
    for secret in (SECRET, discord.TOKEN, telegram.TOKEN):
        assert secret not in shown
        assert secret not in redact(f"an error about {secret}")


async def test_a_missing_block_is_one_sentence_with_the_remedy(prefect_database: Path) -> None:
    """The first thing that goes wrong on a new machine."""
    with pytest.raises(ConfigError) as caught:
        await load_block(ExchangeAccount, "paper")
    assert str(caught.value) == (
        "block kontor-exchange-account/paper is missing; run 'kontor up' or create it in the UI under Blocks"
    )


async def test_a_name_that_prefect_would_not_take_is_refused_with_an_example(prefect_database: Path) -> None:
    """Account names come from parameters that people type."""
    with pytest.raises(ConfigError, match="lower-case letters, digits and single dashes, such as paper"):
        await load_block(ExchangeAccount, "My Account")


async def test_a_saved_account_comes_back_as_it_was(prefect_database: Path) -> None:
    """Through Prefect's API and its encryption."""
    block = ExchangeAccount.model_validate({**PAPER, "api_key": "k-123456", "secret": SECRET, "requests_per_second": 5})
    await block.save("round-trip", overwrite=True)  # pyright: ignore[reportGeneralTypeIssues]
    loaded = await load_block(ExchangeAccount, "round-trip")
    assert loaded.to_settings("paper") == block.to_settings("paper")


async def test_a_block_saved_with_wrong_values_names_itself_and_the_field(prefect_database: Path) -> None:
    """The UI checks little: a wrong value is found when the block is loaded."""
    await ExchangeAccount.model_validate(PAPER).save("spoiled", overwrite=True)  # pyright: ignore[reportGeneralTypeIssues]
    async with get_client() as client:
        document = await client.read_block_document_by_name("spoiled", "kontor-exchange-account")
        response = await client._client.patch(
            f"/block_documents/{document.id}",
            json={"data": {"exchange_id": "okx", "mode": "paper"}, "merge_existing_data": False},
        )
        response.raise_for_status()
    with pytest.raises(ConfigError, match=r"block kontor-exchange-account/spoiled: mode paper needs .* under Blocks"):
        await load_block(ExchangeAccount, "spoiled")


async def test_prefects_database_holds_no_secret_in_the_clear(
    prefect_database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever copies the database, or its backup, must not get the keys (its own key file aside)."""
    with caplog.at_level(logging.DEBUG):
        for block in (
            ExchangeAccount.model_validate({**PAPER, "api_key": SECRET, "secret": SECRET, "password": SECRET}),
            StateStore(url=SecretStr(f"postgresql://kontor:{SECRET}@db/kontor")),
            DiscordWebhook(url=SecretStr(WEBHOOK)),
            TelegramBot(token=SecretStr(telegram.TOKEN), chat_id=telegram.CHAT),
        ):
            await block.save("hygiene", overwrite=True)  # pyright: ignore[reportGeneralTypeIssues]
            await load_block(type(block), "hygiene")
    connection = sqlite3.connect(prefect_database)
    try:
        dump = "\n".join(connection.iterdump())
    finally:
        connection.close()
    assert dump.count("hygiene") >= len(BLOCKS)
    for secret in (SECRET, discord.TOKEN, telegram.TOKEN):
        assert secret not in dump
        assert secret not in caplog.text
