"""What operators do, for the command line and the HTTP server: each is done in one way and refused with one message."""
