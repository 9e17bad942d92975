"""Looking a desk over: every check has a verdict and, when it is not well, a remedy."""
