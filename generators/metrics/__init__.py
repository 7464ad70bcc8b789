"""How good generated images are, beside the real ones: tensors in, one number an image out."""
