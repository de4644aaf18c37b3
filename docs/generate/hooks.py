"""MkDocs hooks: generated pages, files from outside docs/, and links that work in the repository and on the site.

On the site, docs/ is the root; notebooks/, experiments/results/, CHANGELOG.md and CONTRIBUTING.md keep their paths.
"""

import posixpath
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

from generate import api, commands, gallery, notebooks, registry, rows, settings, source  # noqa: E402

GENERATORS: tuple[Callable[[], dict[str, str]], ...] = (
    api.pages,
    commands.pages,
    gallery.pages,
    registry.pages,
    rows.pages,
    settings.pages,
)
OUTSIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("experiments/results/**/README.md")),
)
LINK = re.compile(r"(\]\()(?!\w+:|#|/)([^)\s#]+)")
IMAGES = (".png", ".svg")


@event_priority(100)
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Copy the sources to a folder where mkdocstrings can follow their imports, before its own event looks there."""
    source.write(ROOT, ROOT / "build" / "docs")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add generated pages, and files from outside docs/."""
    for generate in GENERATORS:
        for uri, text in generate().items():
            files.append(File.generated(config, uri, content=text))
    for uri in OUTSIDE:
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / uri)))
    for uri, content in notebooks.pages(ROOT).items():
        files.append(File.generated(config, uri, content=content))
    texts = [(_in_repository(file.src_uri), file.content_string) for file in files.documentation_pages()]
    pictures = {target for place, text in texts for target in _targets(place, text) if target.endswith(IMAGES)}
    for picture in sorted(pictures):
        if not picture.startswith("docs/") and (ROOT / picture).is_file() and picture not in files.src_uris:
            files.append(File.generated(config, picture, abs_src_path=str(ROOT / picture)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Change links to files of the repository into links on the site."""
    place = _in_repository(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def on_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(place), link[2]))
        target = target.removeprefix("docs/")
        target = f"{target.removesuffix('.ipynb')}.md" if target.endswith(".ipynb") else target
        return link[1] + posixpath.relpath(target, here or ".")

    return LINK.sub(on_site, markdown)


def _in_repository(uri: str) -> str:
    """Return the path in the repository of a file of the site; a generated page counts as one of docs/."""
    return uri if uri in OUTSIDE or uri.startswith("notebooks/") else f"docs/{uri}"


def _targets(place: str, text: str) -> Iterator[str]:
    for link in LINK.finditer(text):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(place), link[2]))
