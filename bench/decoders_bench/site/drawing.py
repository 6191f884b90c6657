"""SVG: the basic shapes of the site's figures, in colours for light and dark pages."""

from __future__ import annotations

from html import escape

STYLE = """
text{font:13px ui-monospace,SFMono-Regular,Menlo,monospace;fill:#1f2328}
.s{font-size:11px;fill:#59636e}.m{text-anchor:middle}.e{text-anchor:end}
.open{fill:#eceff3;stroke:#c4ccd6}.given{fill:#fff;stroke:#8c959f}.old{fill:#d5e3fb;stroke:#9dbcf0}
.new{fill:#2f6fde;stroke:#2f6fde}.new+text{fill:#fff}.back{fill:#ffe1c7;stroke:#d97a1f}
.window{fill:none;stroke:#b8308a;stroke-width:2}.line{fill:none;stroke:#2f6fde;stroke-width:2}
.base{fill:none;stroke:#8c959f;stroke-width:2}.dot{fill:#2f6fde}.basedot{fill:#8c959f}.axis{stroke:#c4ccd6}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9da7b3}.open{fill:#21262d;stroke:#3d444d}
.given{fill:#0d1117;stroke:#6e7681}.old{fill:#1b335c;stroke:#345a96}.back{fill:#5a3410;stroke:#d97a1f}
.window{stroke:#f07cc4}.line{stroke:#6ea2f8}.dot{fill:#6ea2f8}.axis{stroke:#3d444d}}
""".replace("\n", "")


def box(x: float, y: float, width: float, height: float, kind: str, label: str = "") -> str:
    """A cell with its label in the middle; `kind` is a class of the style sheet."""
    text = f'<text class="m" x="{x + width / 2:g}" y="{y + height / 2 + 4.5:g}">{escape(label)}</text>' if label else ""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3"/>{text}'


def words(x: float, y: float, text: str, kind: str = "s") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'

def line(a: tuple[float, float], b: tuple[float, float], kind: str) -> str:
    """A line between two points; `kind` is a class of the style sheet."""
    return f'<line class="{kind}" x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"/>'

def image(width: float, height: float, title: str, parts: list[str]) -> str:
    """A complete SVG file, which scales with the width of its page."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><style>{STYLE}</style>{"".join(parts)}</svg>\n'
    )
