"""What a replay found, in every form: text, JSON, CSV, HTML, OpenMetrics, stored results."""
