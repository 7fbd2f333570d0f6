"""`triage classify`."""
