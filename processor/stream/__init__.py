"""The log and its two folds on Kafka: topics, ingest, partition folds, the Faust app."""
