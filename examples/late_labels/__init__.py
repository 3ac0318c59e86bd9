"""A simulated model whose labels come late, those of wrong answers sooner, and what each way of counting
says of it: ``python -m examples.late_labels``."""
