"""Kafka clients and topics, for the log and the source."""
