"""What outlives the run that happened to start it."""

import contextvars

from prefect.context import SettingsContext, get_settings_context


def outside_of_any_run() -> contextvars.Context:
    """A context with nothing but Prefect's settings.

    The sender outlives the run whose alert happened to start it: that run's client will be closed, its logs are not
    ours, and the worker counts a run's tasks as the run's own.
    """
    context = contextvars.Context()
    context.run(SettingsContext.__var__.set, get_settings_context())
    return context
