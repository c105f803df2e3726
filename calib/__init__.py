"""Where ranges come from: images, crops, activations. Imports `calib` and deploy's leaves."""
