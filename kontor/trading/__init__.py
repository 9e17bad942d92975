"""Trading by rule: strategies asked and answered, exits watched, the portfolio's limits held."""
