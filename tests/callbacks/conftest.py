"""A browser, for TensorBoard."""

from tests.browser import chromium

__all__ = ["chromium"]
