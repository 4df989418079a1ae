"""A course of two notebooks that need no data, no weights and no time, to try the machinery on."""

from effnet_helpers.course import build

import nbformat

FIRST = """# %%
from typing import Optional

# %% [markdown]
# # First
# ## What you will learn
# See [the second](02_second.ipynb), and [exercises](exercises/01_first.ipynb).

# %% tags=["parameters"]
epochs: int = 3  # passes over the data
rate: float = 0.5  # step size
photo: Optional[str] = None  # file
sizes: list[int] = [1, 2]  # pixels
flip: bool = True  # mirror images
pause: float = 0.0  # seconds
seed: int = 0  # training seed

# %% [markdown]
# ## Figures
# Prose.

# %%
from IPython.display import display
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
display({"text/html": f'<img src="data:image/png;base64,{PIXEL}" alt="A &quot;red&quot; dot">'}, raw=True)
RECORD = "application/vnd.effnet.record+json"
display({"text/html": "", "text/plain": "n", RECORD: {"name": "accuracy", "value": 0.5 + seed / 10}}, raw=True)

# %% [markdown]
# ## Recap

# %% tags=["alone"]
import time
time.sleep(pause)
print(epochs, rate, photo, sizes, flip)
"""

SECOND = """# %% [markdown]
# # Second

# %% tags=["parameters"]
action: str = "none"  # what happens
dataset: str = "textile"  # data
seed: int = 0  # training seed

# %% [markdown]
# ## The test

# %%
import os, sys
print("before", flush=True)
if action == "raise":
    raise ValueError("first <line>\\nsecond line")
if action == "open":
    print(dataset)
    open(dataset.partition(":")[2] + "/nothing")
if action == "exit":
    sys.exit(0)
if action == "die":
    os._exit(1)

# %%
print("after")
"""

PROFILE = "01_first:\n  epochs: 1\n"


def write(root):
    """Writes the sources and one profile."""
    sources, profile_dir = root / "notebooks" / "src", root / "notebooks" / "profiles"
    sources.mkdir(parents=True)
    profile_dir.mkdir()
    (sources / "01_first.py").write_text(FIRST)
    (sources / "02_second.py").write_text(SECOND)
    (profile_dir / "tiny.yaml").write_text(PROFILE)


def write_with_notebooks(root):
    """Writes the sources and their notebooks, not executed."""
    write(root)
    for source in build.sources(root):
        nbformat.write(build.from_source(source), build.built_path(source))
