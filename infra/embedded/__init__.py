"""Throw-away servers for the demo and the tests."""
