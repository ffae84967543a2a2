"""AudioSet's embeddings: records, classes, and the metrics that its experiments are told in."""
