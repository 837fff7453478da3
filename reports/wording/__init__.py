"""Sentences and names made from judged rows."""
