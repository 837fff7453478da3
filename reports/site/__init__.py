"""The HTML site: pages, templates, charts, search."""
