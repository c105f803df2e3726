"""PyTorch to ONNX to int8 to an optimized file. Stage files import `deploy` and `calib` only."""
