"""The reference orchestrator: Director, Workers and Strategist that really repair a repository.

A real LangGraph app with agents on the real OpenAI client, git worktrees, commits and merges. It
uses otel-orchestrator as anybody would, through its public names.
"""
