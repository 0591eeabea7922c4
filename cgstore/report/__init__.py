"""The report: a store and its fits as one self-contained HTML page that needs no server and no network."""

from cgstore.report.page import write_fit_page, write_report

__all__ = ["write_fit_page", "write_report"]
