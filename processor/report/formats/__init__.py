"""Renderers of results: text, CSV, HTML with plots, OpenMetrics."""
