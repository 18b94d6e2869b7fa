"""Style of our plots; imports matplotlib with the first one."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GRID = "#333333", "#e3e3e3"
BLUE, ORANGE = "#1f6fb4", "#d9731a"  # apart in lightness too, for print and for colour-blind readers


def new_figure(width: float) -> "Figure":
    """Make an empty figure, `width` inches wide, outside pyplot: no display, nothing stays open.

    Raises ImportError: matplotlib is missing; the extra `train` brings it.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, 3.4), layout="constrained")


def prepare(axes: "Axes", title: str, xlabel: str) -> None:
    """Set title, label and a quiet style."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(xlabel, fontsize=9, color=INK)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.tick_params(labelsize=8, colors=INK, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(INK)


__all__ = ["BLUE", "GRID", "INK", "ORANGE", "new_figure", "prepare"]
