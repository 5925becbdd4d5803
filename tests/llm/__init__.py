"""LLM calls: real clients over real HTTP, against a local server that injects what is measured."""
