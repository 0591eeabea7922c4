"""Write the table of modules into architecture.md, from the first sentences of their docstrings.

python docs/modules.py            rewrite it
python docs/modules.py --check    only say whether it is up to date; exit code 1 if not
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- modules: written by docs/modules.py -->\n", "<!-- end of modules -->\n"


def sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[a-z0-9)`])\.(?: |$)", first)[0]


def table() -> str:
    """Return the table of all modules that hold code, in the order of their folders."""
    rows = ["| module | its one idea |", "|---|---|"]
    top = ROOT / "cgstore"
    paths = sorted(top.rglob("*.py"), key=lambda path: (path.parent != top, path.as_posix()))
    for path in paths:
        name = path.relative_to(top).as_posix()
        if path.name != "__init__.py" and "shipped" not in name:
            rows.append(f"| `{name}` | {sentence(path).replace('|', '∣')} |")
    return "\n".join(rows) + "\n"


def main(words: list[str]) -> int:
    """Rewrite or check the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = before + BEGIN + table() + END + after
    if "--check" in words:
        if wanted != text:
            print("docs/architecture.md: the table of modules is out of date; run python docs/modules.py")
        return int(wanted != text)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
