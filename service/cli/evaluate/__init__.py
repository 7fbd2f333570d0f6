"""`triage evaluate`, and labelled tickets through llms, for `calibrate` and `llm verify` too."""
