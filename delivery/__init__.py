"""The production line for custom models: labeled data in; a measured, quantized, registered model and its report out."""

__version__ = "0.1.0"
