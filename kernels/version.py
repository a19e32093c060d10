"""The one place that states the version: the distribution's metadata and the check of packages of the same name read it."""

__version__ = "0.1.0"
