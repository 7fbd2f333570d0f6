"""`triage calibrate`, and the fitting that `evaluate` does too."""
