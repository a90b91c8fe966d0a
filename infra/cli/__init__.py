"""The command line: parse, call, map errors."""
