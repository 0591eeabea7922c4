"""Publishing cards: datasets described in Croissant, so that others find, cite, check and read them."""

from cgstore.card.document import Card, make_card

__all__ = ["Card", "make_card"]
