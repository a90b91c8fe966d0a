"""Telling others by HTTP: whom, how it is signed, and where it may go."""
