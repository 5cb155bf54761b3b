"""Benchmarks that run from an installed package."""
