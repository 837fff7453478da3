"""Tables as Markdown and LaTeX, and report.tex."""
