"""Exact instruction counts of ONNX Runtime's aarch64 build under user-mode emulation."""
