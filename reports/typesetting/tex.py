"""Text as LaTeX that prints it: an escape that disarms any name."""

from __future__ import annotations

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}", "|": r"\ensuremath{|}", '"': r"{''}", "'": r"{'}", "`": r"{`}", "-": r"{-}",
    "[": r"{[}", "]": r"{]}", "*": r"{*}", "−": r"\ensuremath{-}", "×": r"\ensuremath{\times}",
    "†": r"\ensuremath{^\dagger}",
    "±": r"\ensuremath{\pm}",
    "∞": r"\ensuremath{\infty}", "µ": r"\ensuremath{\mu}", "·": r"\ensuremath{\cdot}",
    "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}", "→": r"\ensuremath{\to}", "°": r"\ensuremath{^\circ}",
    "…": r"\ldots{}", "–": r"--", "—": r"---", "“": r"``", "”": r"''", "‘": r"`", "’": r"'", "\u00a0": "~",
    "é": r"\'e", "è": r"\`e", "ü": r"\"u", "ö": r"\"o", "ä": r"\"a", "ß": r"{\ss}", "á": r"\'a", "ó": r"\'o",
    "ñ": r"\~n", "ç": r"\c{c}",
}  # fmt: skip


class Tex(str):
    """Text that is LaTeX already."""


def escape(value: object) -> Tex:
    """Any text as LaTeX that prints it; what Computer Modern lacks is printed as its code point."""
    if isinstance(value, Tex):
        return value
    text = "" if value is None else " ".join(str(value).split())
    return Tex(
        "".join(
            SPECIAL.get(letter)
            or (letter if letter.isascii() and letter.isprintable() else rf"{{[}}U+{ord(letter):04X}{{]}}")
            for letter in text
        )
    )


def breakable(text: str) -> Tex:
    """Escaped, with places to break a line after signs and within very long words."""
    parts, run = [], 0
    for letter in " ".join(text.split()):
        parts.append(escape(letter) if letter != " " else " ")
        run = 0 if letter == " " else run + 1
        if letter in ",=(_/;-" or run > 18:
            parts.append(r"\allowbreak{}")
            run = 0
    return Tex("".join(parts))
