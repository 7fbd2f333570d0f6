"""Tickets once they are rows: asked for, shown as JSON, and judged. Used by the API and the pages."""
