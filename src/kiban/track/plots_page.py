"""The page in which `dvc plots show` draws: it has Vega inside, where DVC's own page loads Vega from the internet.

`python -m kiban.track.plots_page FILE` writes it and tells DVC of it in .dvc/config.local, as `make` does.
"""

import subprocess
import sys
from pathlib import Path

import vl_convert

VEGA_LITE = "5.21"  # DVC's specifications are of version 5
PAGE = """<!DOCTYPE html>
<meta charset="utf-8">
{refresh_tag}
<title>Plots</title>
<style>body {{ font-family: sans-serif }} table {{ border-spacing: 15px }}</style>
<script>(() => {{ {vega} }})();</script>
{plot_divs}
"""
"""DVC fills in `refresh_tag` and `plot_divs`, whose scripts call vegaEmbed."""


def page() -> str:
    """The page, into which DVC puts the plots."""
    vega = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return PAGE.format(vega=vega, refresh_tag="{refresh_tag}", plot_divs="{plot_divs}")


def main(file: str) -> None:
    path = Path(file).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "dvc", "config", "--local", "plots.html_template", str(path)], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
