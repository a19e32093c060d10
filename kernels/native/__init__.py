"""The only place with ctypes: finding, opening and typing oneDNN and MKL, aligned memory, OpenMP threads."""
