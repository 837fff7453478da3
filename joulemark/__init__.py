"""Joulemark: the claims of efficient deep learning, measured again."""

__version__ = "0.1.0"
