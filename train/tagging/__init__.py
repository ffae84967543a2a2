"""Taggers of whole clips: LSTMs over AudioSet's embeddings, a probability for each class."""
