"""Formulas over counts, each with its convention and source."""
