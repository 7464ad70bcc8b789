"""Re-identification: mixing real and synthetic images, training torchreid's models on them, measuring the result."""
