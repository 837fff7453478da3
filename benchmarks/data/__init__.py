"""Data that travels with the project: files, manifest, and the code that finds and rebuilds them."""
