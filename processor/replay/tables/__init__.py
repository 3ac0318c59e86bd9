"""Tables as sources: CSV, Parquet, JSON lines, and DataFrames."""
