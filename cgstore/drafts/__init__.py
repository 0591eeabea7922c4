"""Drafts of recipes: what can be said about a folder of simulation files by looking into them."""

from cgstore.drafts.drafting import Draft, draft_recipe

__all__ = ["Draft", "draft_recipe"]
