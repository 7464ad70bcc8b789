"""Throughput of each stage beside its limit, as ratios within one run; nothing here is asserted in tests."""
