"""Turn the notebooks into pages as they were committed; nothing is executed."""

import re
from pathlib import Path


def pages(root: Path) -> dict[str, str | bytes]:
    """Make a page with its pictures for each notebook."""
    import nbformat
    from nbconvert import MarkdownExporter

    made: dict[str, str | bytes] = {}
    for file in sorted(root.glob("notebooks/*.ipynb")):
        template = {"output_files_dir": f"{file.stem}_files", "unique_key": file.stem}
        text, resources = MarkdownExporter().from_notebook_node(nbformat.read(file, as_version=4), resources=template)
        note = f'!!! note "This page is a notebook"\n    Run it yourself: `{file.relative_to(root).as_posix()}`.\n\n'
        heading, _, rest = text.lstrip().partition("\n")
        made[f"notebooks/{file.stem}.md"] = f"{heading}\n\n{note}{_tables(rest)}"
        made |= {f"notebooks/{name}": content for name, content in resources["outputs"].items()}
    return made


def _tables(text: str) -> str:
    """Remove the style of pandas' tables, so that the site's style applies."""
    text = re.sub(r"<style scoped>.*?</style>\n?", "", text, flags=re.DOTALL)
    text = text.replace("background-color: #000000;", "background-color: transparent;")  # cells without a number
    text = text.replace(' border="1" class="dataframe"', "")
    return re.sub(r"(<table.*?</table>)", r'<div class="notebook-table">\n\1\n</div>', text, flags=re.DOTALL)
