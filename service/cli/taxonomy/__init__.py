"""`triage taxonomy`."""
