"""Kehu over HTTP: parses, asks the same questions as the command line, and maps errors to problems (RFC 9457)."""
