"""The notebook's updater_config.yaml: what each of its keys becomes in kontor.yaml and prefect.yaml, and what not."""
