"""The Strategy protocol: a pure function of a market view to orders and cancels."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from kontor.domain.intent import OrderIntent
from kontor.strategies.view import DataNeed, MarketView


class StrategyParameters(BaseModel):
    """Base of a strategy's own parameters: unknown keys are mistakes, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class StrategyOrder:
    """An order a strategy wants; `leg` tells it from the others it wants on the same symbol and candle.

    Strategy, symbol, candle and leg make the client order id: a leg wanted twice on one candle is one order.
    """

    leg: str
    intent: OrderIntent


@dataclass(frozen=True, slots=True)
class Decision:
    """What a strategy wants now: new orders, cancels of its own by client order id, and what it wants to remember.

    `state` is any JSON object and comes back in the next view; None leaves what is remembered as it is.
    """

    orders: tuple[StrategyOrder, ...] = ()
    cancels: tuple[str, ...] = ()
    state: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        orders: Iterable[StrategyOrder] = (),
        cancels: Iterable[str] = (),
        state: Mapping[str, Any] | None = None,
    ) -> "Decision":
        """A decision out of any iterables."""
        return cls(tuple(orders), tuple(cancels), state)


P = TypeVar("P", bound=StrategyParameters)


class Strategy(ABC, Generic[P]):
    """A strategy with its parameters; subclass it as `Strategy[MyParameters]`.

    One object may decide about many views: whatever must outlive a run goes into the decision's state, because runs
    may come from different processes.
    """

    parameters_type: ClassVar[type[StrategyParameters]] = StrategyParameters

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the parameters' type from the brackets."""
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            arguments = get_args(base)
            if get_origin(base) is Strategy and arguments and isinstance(arguments[0], type):
                cls.parameters_type = arguments[0]

    def __init__(self, parameters: P) -> None:
        self.parameters = parameters

    @abstractmethod
    def needs(self) -> DataNeed:
        """The candles it must see; it is not asked about a symbol that lacks them."""

    @abstractmethod
    def decide(self, view: MarketView) -> Decision:
        """What to do now. No I/O, no clock of its own, no randomness: the same view gives the same decision."""
