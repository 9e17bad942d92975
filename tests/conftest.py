"""What tests of several folders share."""

# One desk for the end-to-end and the browser tests: a fixture in two conftests would be two desks.
pytest_plugins = ["tests.support.desk"]
