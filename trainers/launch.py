"""`python -m trainers.launch NAME`: the path of a shipped Accelerate configuration; see `distributed/launch.py`."""

import sys

from trainers.distributed.launch import main

if __name__ == "__main__":
    sys.exit(main())
