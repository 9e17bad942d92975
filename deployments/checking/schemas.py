"""The JSON Schemas of kontor.yaml and prefect.yaml, from the models that read them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from deployments.checking.prefect_file import PrefectFile
from kontor.config import KontorConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def kontor_schema() -> dict[str, Any]:
    """The schema of kontor.yaml."""
    schema = KontorConfig.model_json_schema()
    return {"$schema": DIALECT, **schema, "title": "kontor.yaml"}


def prefect_schema() -> dict[str, Any]:
    """The schema of prefect.yaml: Prefect's keys, and the parameters of the flows whose steps are written there."""
    from flows.operate import initialize
    from flows.updater import run_updater

    schema = PrefectFile.model_json_schema()
    definitions = schema["$defs"]
    rules = []
    for flow, entrypoint in ((run_updater, "flows.updater.run_updater"), (initialize, "flows.operate.initialize")):
        parameters = _parameters(flow.fn, definitions)
        rules.append(
            {
                "if": {"properties": {"entrypoint": {"const": entrypoint}}, "required": ["entrypoint"]},
                "then": {"properties": {"parameters": parameters}},
            }
        )
    definitions["DeploymentEntry"]["allOf"] = rules
    return {"$schema": DIALECT, **schema, "title": "prefect.yaml"}


def _parameters(function: Callable[..., Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a flow's parameters; what it refers to joins the definitions."""
    hints = get_type_hints(function, include_extras=True)
    properties, required = {}, []
    for name, parameter in inspect.signature(function).parameters.items():
        schema = TypeAdapter(hints[name]).json_schema(ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        properties[name] = schema
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
    found = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": required} if required else found


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {"kontor": kontor_schema, "prefect": prefect_schema}
