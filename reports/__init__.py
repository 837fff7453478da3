"""Records -> statistics, effects, verdicts, tables, figures, HTML site, LaTeX. Reads tables only, never torch."""
