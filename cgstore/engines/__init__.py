"""Existing programs that move particles: what they get, and what they return."""
