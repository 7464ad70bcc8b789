"""The authors' published weights, read into our networks: one module a paper."""
