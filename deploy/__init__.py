"""PyTorch to ONNX to int8 to an optimized file. Stage files import `deploy` and `calib` only."""

import os

# From 1.29 on ONNX Runtime reports home by default on Linux: threads that disturb a measurement,
# and not ours to start on a user's machine. It reads this when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
