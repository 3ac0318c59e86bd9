"""Render the results of a replay: text, JSON, CSV, HTML, OpenMetrics, and stored results."""
