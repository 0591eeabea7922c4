"""Canonical averages with error bars, lazily, from datasets."""
