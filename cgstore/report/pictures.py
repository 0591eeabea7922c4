"""Pictures inside the page: figures as SVG in `data:` addresses, with their captions."""

import base64

import xarray as xr

from cgstore.plot import encode_figure, figure_of

__all__ = ["picture"]


def picture(result: xr.Dataset, kind: str, *, caption: str) -> dict[str, str]:
    """Return a figure as an SVG inside the page; as an image, so that nothing in it can run or clash."""
    content = base64.b64encode(encode_figure(figure_of(result, kind), "svg")).decode()
    name = f"{kind} of {result.attrs.get('name', '')}"
    return {"source": f"data:image/svg+xml;base64,{content}", "name": name, "caption": caption}
