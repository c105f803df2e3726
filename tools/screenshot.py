"""Take the picture of a report that the README shows.

    python tools/screenshot.py build/report/report.html docs/report.png

It is the upper part of the page, as chromium shows it on a desk, with a palette so that it
stays small. `--whole`, `--dark` and `--width 390` show the rest, the night and a phone.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from browser import browser_page, find_chromium
from PIL import Image


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, take the picture, print where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1200, help="of the screen, in pixels")
    parser.add_argument("--height", type=int, default=1290)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--whole", action="store_true", help="the page from top to bottom")
    options = parser.parse_args(arguments)
    executable = find_chromium()
    if executable is None:
        print("no chromium here: install the package chromium", file=sys.stderr)
        return 1
    if not options.page.is_file():
        print(f"no page at {options.page}: run `mofa-deploy report` first", file=sys.stderr)
        return 1
    with browser_page(executable) as page:
        page.emulate(scheme="dark" if options.dark else "light")
        page.resize(options.width, options.height)
        page.open(options.page)
        png = page.screenshot(whole=options.whole)
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    with_palette(png).save(options.picture, optimize=True)
    print(f"{options.picture}: {options.picture.stat().st_size // 1024} KiB")
    return 0


def with_palette(png: bytes) -> Image.Image:
    """Give the picture in few colours, chosen so that no mark takes another's."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    return picture.quantize(256, kmeans=8, dither=Image.Dither.NONE)


if __name__ == "__main__":
    sys.exit(main())
