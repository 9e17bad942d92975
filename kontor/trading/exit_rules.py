"""The exit rules of strategies: those of kontor.yaml, and the last known ones of strategies that left it."""

from collections.abc import Mapping
from datetime import timedelta

from kontor.config import ExitSettings, KontorConfig
from kontor.domain.exits import ExitRules
from kontor.ports import DeskState

# The last known rules by strategy, as JSON.
EXIT_RULES = "exit_rules"


async def exit_rules_of(state: DeskState, account: str, config: KontorConfig) -> Mapping[str, ExitRules]:
    """Rules by strategy."""
    kept = await state.attribute(account, EXIT_RULES)
    rules = {
        name: rules_of(ExitSettings.model_validate(value))
        for name, value in (kept.value if kept and kept.value else {}).items()
    }
    return rules | {name: rules_of(settings.exits) for name, settings in config.strategies.items()}


def rules_of(settings: ExitSettings) -> ExitRules:
    """The rules of kontor.yaml."""
    hours = settings.max_hours
    return ExitRules(
        settings.stop_loss_percent,
        settings.take_profit_percent,
        settings.trailing_percent,
        None if hours is None else timedelta(hours=float(hours)),
    )
