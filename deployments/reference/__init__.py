"""The reference part of the documentation, written from the code at every build, so that it cannot go stale."""
