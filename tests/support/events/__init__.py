"""What tests of events share: bodies, damage, documents, and what one event means."""
