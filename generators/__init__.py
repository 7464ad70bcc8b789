"""Pose-guided image generators: networks, losses and their training. Tensors in, tensors out."""
