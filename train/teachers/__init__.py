"""Two public audio taggers, YAMNet and EfficientAT mn04, whose features teach detectors."""
