"""The networks and their checkpoints, written from the papers' facts."""
