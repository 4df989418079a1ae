"""Try a classifier on single pictures: what it says of one, where it looked, whether to trust it, and a page for that.

The page runs in the reader's browser and is served by this computer; it needs the extra `demo`, the answers do not.
"""

from effnet_helpers.serving.answers import Answer, Opened, Verdict, look, open_model
from effnet_helpers.serving.demo import Served, serve
