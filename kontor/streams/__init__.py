"""Live data on its way to the store: what a venue streams, and what is done when it does not."""
