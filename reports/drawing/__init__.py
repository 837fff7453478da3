"""Figures by matplotlib, from judged rows; one style file."""
