"""`triage demo`."""
