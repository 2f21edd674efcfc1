"""The calls of the HTTP API, each written once: the clients' methods take parameters and docstrings from here."""
