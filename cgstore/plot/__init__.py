"""One figure per kind of result: unit on every axis, error as band, format by suffix."""

from cgstore.plot.answering import answers, kept_results, save_plot
from cgstore.plot.canvas import encode_figure, save_figure
from cgstore.plot.figures import figure_of
from cgstore.plot.shapes import DISTRIBUTIONS, KINDS, KINDS_OF_DATASETS
from cgstore.plot.wording import with_error

__all__ = [
    "DISTRIBUTIONS",
    "KINDS",
    "KINDS_OF_DATASETS",
    "answers",
    "encode_figure",
    "figure_of",
    "kept_results",
    "save_figure",
    "save_plot",
    "with_error",
]
