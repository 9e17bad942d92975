"""The paper exchange: OKX's interface over play money, for trying a desk out and for its tests."""
