"""How a ticket becomes a row: read the JSON, validate it, commit it in a group, wait for its result."""
