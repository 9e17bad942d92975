"""Where prices come from: every source answers for any moment, past or present, without having been there."""
