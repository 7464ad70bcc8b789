"""What comes in: image roots, manifests, key points, pose maps, pairs, and procedural pedestrians."""
