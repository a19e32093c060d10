"""The one place that states the version: the metadata and the check for packages of the same name read it."""

__version__ = "0.1.0"
