"""Shared helpers of a course on image classification by fine-tuning EfficientNet.

Importing this package is cheap: it loads neither TensorFlow nor Keras. Import the module you need
(`from effnet_helpers import data, models`); the first one that needs TensorFlow loads it, without its start-up chatter.
"""

__version__ = "0.2.0"
