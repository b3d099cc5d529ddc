"""Fails if a line of Markdown or of a comment is wider than 100 columns, and prints these lines.

Tables, code and the URLs of links may be wider.
"""

import re
import subprocess
import sys

WIDTH = 100
COMMENT = {"rs": "//", "sql": "--", "toml": "#", "py": "#", "sh": "#"}


def width(line):
    """Returns the width of a line without the URLs of its links."""
    return len(re.sub(r"\]\([^)]*\)|https?://\S+", "]", line))


def markdown(lines):
    """Yields the numbers and lines of prose."""
    fenced = indented = False
    before = ""
    for number, line in lines:
        if line.lstrip().startswith("```"):
            fenced = not fenced
        # An indented line is code after an empty line, otherwise it continues a list item.
        indented = line.startswith("    ") and (indented or not before.strip())
        before = line
        if not fenced and not indented and not line.lstrip().startswith(("|", "```", "<!--")):
            yield number, line


def comments(lines, mark):
    """Returns the numbers and lines of comments, without code blocks in them."""
    start = re.compile(rf"(?:^|\s){re.escape(mark)}[/!]?(?:\s|$)")
    found = [(number, line, start.search(line)) for number, line in lines]
    if mark == "--":
        # In a string of SQL, these characters begin no comment.
        found = [it for it in found if it[2] and it[1][: it[2].start()].count("'") % 2 == 0]
    prose = [(number, line[match.end() :]) for number, line, match in found if match]
    kept = {number for number, _ in markdown(prose)}
    return [(number, line) for number, line, match in found if match and number in kept]


def too_wide(file):
    with open(file, encoding="utf-8") as text:
        whole = text.read()
    lines = list(enumerate(whole.splitlines(), 1))
    kind = file.rsplit(".", 1)[-1]
    if kind not in COMMENT and whole.startswith("#!"):
        kind = "sh"
    if kind == "md":
        lines = markdown(lines)
    elif kind in COMMENT:
        lines = comments(lines, COMMENT[kind])
    else:
        return []
    return [number for number, line in lines if width(line) > WIDTH]


def main():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        stdout=subprocess.PIPE,
    )
    texts = (".md", ".rs", ".sql", ".toml", ".py", ".sh")
    named = [file for file in listed.stdout.decode().split("\0") if file]
    files = [
        file
        for file in named
        if file.endswith(texts) or "." not in file.rsplit("/", 1)[-1]
    ]
    found = [f"{file}:{number}" for file in files for number in too_wide(file)]
    for place in found:
        print(f"{place}: wider than {WIDTH} columns", file=sys.stderr)
    print(f"{len(files)} files, {len(found)} lines too wide")
    return 1 if found else 0


sys.exit(main())
