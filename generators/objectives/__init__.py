"""How each paper trains its generator: one module a paper."""
