"""Are kontor.yaml and prefect.yaml right? All mistakes at once, each with file, line and remedy."""
