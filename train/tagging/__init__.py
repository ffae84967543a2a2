"""Taggers of whole clips: LSTMs over AudioSet's embeddings, with a probability for each class."""
