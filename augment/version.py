"""The version, in one place that setup.cfg can read without importing anything."""

__version__ = "0.1.0"
