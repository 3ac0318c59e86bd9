"""Read tables of predictions and true labels: CSV, Parquet, JSON lines, and DataFrames."""
