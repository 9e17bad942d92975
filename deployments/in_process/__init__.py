"""The parts of the in-process worker, one noun a module; `deployments.worker` puts them together."""
