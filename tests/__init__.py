"""A package, so that no other one of this name, such as the one that torch-fidelity installs, takes its place."""
