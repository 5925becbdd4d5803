"""LLM calls: one span for each, its content on request, its cost, what the response tells."""
