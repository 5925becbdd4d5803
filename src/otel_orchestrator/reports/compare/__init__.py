"""A comparison for people (text, Markdown), for programs (JSON), and for a build (JUnit XML)."""
