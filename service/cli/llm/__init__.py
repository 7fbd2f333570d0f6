"""`triage llm`, and what other commands say of an llm without loading it."""
