"""`python -m nnframes.demo`: digits train a network in a Spark ML pipeline, which is saved and answers SQL."""

from __future__ import annotations

import sys

from nnframes.spark.demo import main

if __name__ == "__main__":
    sys.exit(main())
