"""`triage import`."""
