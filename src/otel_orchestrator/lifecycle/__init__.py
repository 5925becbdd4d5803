"""How a span is started, made current, put around a call or a wait, and ended."""
