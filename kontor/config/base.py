"""What every section of kontor.yaml is made of."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of all sections: unknown keys are mistakes, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
