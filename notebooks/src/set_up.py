# Set-up. Where the course is installed, this cell does nothing. Elsewhere, as in Colab and Kaggle, it installs the
# course in about a minute and leaves the TensorFlow, Keras and NumPy that are there as they are.
import subprocess
import sys
from importlib import metadata, util

if util.find_spec("effnet_helpers") is None:
    needed = {"tensorflow": (2, 20), "keras": (3, 12), "numpy": (2, 0), "protobuf": (5, 28)}
    here = {each.name: each.version for each in metadata.distributions() if each.name in needed}
    old = [f"{name} {here[name]}" for name in here if tuple(map(int, here[name].split(".")[:2])) < needed[name]]
    if old or not (3, 11) <= sys.version_info[:2] <= (3, 13):
        found = ", ".join([f"Python {sys.version.split()[0]}", *old])
        sys.exit(f"Needed: Python 3.11 to 3.13, TensorFlow 2.20, Keras 3.12 and NumPy 2 or newer. Found: {found}")
    keep = [f"{name}=={version}" for name, version in here.items()]
    install = [sys.executable, "-m", "pip", "install", "-q", "effnet-helpers==0.2.0", *keep]
    pip = subprocess.run(install, capture_output=True, text=True)
    if pip.returncode != 0:
        sys.exit(f"The course could not be installed beside what is here. pip says:\n{pip.stderr}")
