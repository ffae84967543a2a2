"""AudioSet's embeddings: records, classes, batches and metrics."""
