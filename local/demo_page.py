"""The page that the demonstration ends with: all scenes, with their clips, states and documents.

It is assembled from the pages that `clipflow show --html` writes, so it shows what the console
shows."""

import dataclasses
import datetime
import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from . import paths
from .console import Failure

_STYLE = """
.scene { border-top: 1px solid var(--line); margin-top: 40px; padding-top: 24px; }
.scene > h2 { font-size: 20px; margin: 0 0 4px; }
.scene > h3 { font-size: 15px; margin: 24px 0 8px; }
.checked { list-style: none; padding: 0; margin: 8px 0 20px; display: flex;
  flex-wrap: wrap; gap: 4px 18px; }
.checked li::before { content: "✓ "; color: var(--green); font-weight: 700; }
.scene h1 { font-size: 16px; }
.contents { columns: 2; padding-left: 20px; }
"""


@dataclasses.dataclass
class Scene:
    """A scene and what it left."""

    name: str
    title: str
    text: str
    checked: list[str] = dataclasses.field(default_factory=list)
    pages: list[tuple[str, Path]] = dataclasses.field(default_factory=list)
    """Pages of executions, each with its caption."""
    notifications: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def write(scenes: list[Scene]) -> Path:
    """Writes the page and returns where it is."""
    first = next(page for scene in scenes for _, page in scene.pages)
    head = _between(first.read_text(encoding="utf-8"), "<head>", "</head>")
    head = re.sub("<title>.*?</title>", "<title>The demonstration · clipflow</title>", head)
    contents = "".join(
        f'<li><a href="#{scene.name}">{escape(scene.title)}</a></li>' for scene in scenes
    )
    body = "".join(line for scene in scenes for line in _scene(scene))
    index = paths.DEMO / "index.html"
    index.write_text(
        f'<!DOCTYPE html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body><main>'
        f'<h1>What make demo did</h1><ol class="contents">{contents}</ol>{body}'
        "</main></body></html>\n",
        encoding="utf-8",
    )
    return index


def _scene(scene: Scene) -> Iterator[str]:
    yield f'<section class="scene" id="{scene.name}"><h2>{escape(scene.title)}</h2>'
    yield f"<p>{escape(scene.text)}</p>"
    checked = "".join(f"<li>{escape(fact)}</li>" for fact in scene.checked)
    yield f'<ul class="checked" aria-label="Checked">{checked}</ul>'
    for caption, page in scene.pages:
        if caption:
            yield f"<h3>{escape(caption)}</h3>"
        content = _between(page.read_text(encoding="utf-8"), "<main>", "</main>")
        yield re.sub('<details id="', f'<details id="{page.stem}-', content)
    for notification in scene.notifications:
        yield '<details class="json"><summary>The notification</summary>'
        yield f'<pre tabindex="0">{escape(as_json(notification))}</pre></details>'
    yield "</section>"


def as_json(value: Any) -> str:
    """JSON, for people."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)


def _between(text: str, begin: str, end: str) -> str:
    """The text between two markers, which all pages have."""
    found = text.partition(begin)[2].rpartition(end)
    if not found[1]:
        raise Failure(f"a page has no {begin} before {end}")
    return found[0]
