"""The ports in memory: the reference for the conformance suites."""
