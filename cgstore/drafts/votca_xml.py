"""XML of VOTCA as a tree that knows which of its values were read, so that none is dropped without a word.

No document type, no entity and no reference to another file is accepted: there is nothing to expand.
"""

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from cgstore.errors import InputError
from cgstore.plain_files import read_plain

__all__ = ["Node", "read_xml"]

_MOST_BYTES = 2**22
_MOST_DEPTH = 32
_MOST_NODES = 100_000


@dataclass(slots=True, eq=False)
class Node:
    """An element; reading its text or its children marks them as used."""

    tag: str
    text: str = ""
    children: list["Node"] = field(default_factory=list)
    used: bool = False

    def all(self, path: str) -> list["Node"]:
        """Return the elements at a path such as "inverse.kBT"."""
        first, _, rest = path.partition(".")
        found = [child for child in self.children if child.tag == first]
        return [inner for child in found for inner in child.all(rest)] if rest else found

    def value(self, path: str) -> str | None:
        """Return the text of the last element at a path, as VOTCA does, and mark it as read; None without one."""
        found = self.all(path)
        for node in found:
            node.used = True
        return found[-1].text.strip() if found else None

    def unread(self, where: str = "") -> list[tuple[str, str]]:
        """Return path and text of every value that nobody has read."""
        here = f"{where}.{self.tag}".lstrip(".")
        found = [] if self.used or not self.text.strip() else [(here, " ".join(self.text.split()))]
        return found + [leaf for child in self.children for leaf in child.unread(here)]

    def read_all(self) -> None:
        """Mark everything below as read."""
        self.used = True
        for child in self.children:
            child.read_all()


def read_xml(path: Path, root: str) -> Node:
    """Return the tree of a file.

    Parameters
    ----------
    path : the file
    root : the tag that its outermost element must have

    Raises
    ------
    InputError : it cannot be read, is no XML, has a document type or entities, or is of another kind
    """
    try:
        content = read_plain(path, most=_MOST_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    tree = _Tree(path)
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = tree.start, tree.end
    parser.CharacterDataHandler = tree.text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = tree.refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise InputError(f"{path}: not XML: {error}") from error
    found = tree.outer.children[0]
    if found.tag != root:
        raise InputError(f"{path}: found <{found.tag[:80]}>, expected <{root}> of VOTCA")
    return found


class _Tree:
    """What the parser tells, as a tree."""

    def __init__(self, path: Path) -> None:
        self.path, self.outer, self.nodes = path, Node(""), 0
        self.open = [self.outer]

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Open an element; attributes become children."""
        self.nodes += 1 + len(attributes)
        if len(self.open) > _MOST_DEPTH or self.nodes > _MOST_NODES:
            raise InputError(f"{self.path}: found elements {len(self.open)} deep and {self.nodes} of them, too many")
        node = Node(tag, children=[Node(name, value) for name, value in attributes.items()])
        self.open[-1].children.append(node)
        self.open.append(node)

    def end(self, tag: str) -> None:
        """Close an element."""
        self.open.pop()

    def text(self, part: str) -> None:
        """Add text."""
        self.open[-1].text += part

    def refuse(self, *declared: object) -> None:
        """Refuse what could be expanded."""
        raise InputError(
            f"{self.path}: found a document type or entity, {declared[0]!r:.80}; VOTCA has none, remove it"
        )
