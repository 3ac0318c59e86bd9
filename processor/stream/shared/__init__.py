"""Copies of the join's snapshots in a store that the workers share."""
