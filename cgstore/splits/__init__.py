"""Splits: which data a training may learn from, what it may look at, and what it may never see; no torch in here."""
