"""Ablations and recipes: one reviewed file each, run from a checkout."""
