"""Suite `spark`."""


def rows() -> list:
    return []
