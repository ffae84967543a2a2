"""Distillation: heads on the features of public taggers, and what they answer to stored scenes."""
