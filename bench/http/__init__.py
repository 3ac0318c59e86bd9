"""Measurements of the HTTP ports."""
