"""Kinds of messages that model servers and applications send, made from the draws of a load."""
