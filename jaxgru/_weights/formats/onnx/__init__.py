"""ONNX models, read from their bytes and written."""
