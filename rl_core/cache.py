"""What runs on one machine share: the folder where it is kept."""

import os
from pathlib import Path

CACHE_VARIABLE = "DEEPSCALER_CACHE"


def cache_folder(name: str) -> Path:
    """The folder of one kind of shared files; DEEPSCALER_CACHE says where all of them are."""
    return Path(os.environ.get(CACHE_VARIABLE, Path.home() / ".cache" / "deepscaler-recipe")) / name
