"""A bundle's networks as ONNX graphs, which onnxruntime runs over long files."""
