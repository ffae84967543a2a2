"""Training of verifiers."""
