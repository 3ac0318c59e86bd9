"""An independent, brute-force reading of the counting rules, to test the product against."""
