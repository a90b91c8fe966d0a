"""Measures Kehu against its limit and against the plain way: `python -m benchmarks GROUP`."""
