"""Pose-transfer data augmentation for person re-identification: the pipeline."""
