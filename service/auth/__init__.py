"""API keys: 256 random bits, kept as SHA-256. Used by the API, the pages and the command line."""
