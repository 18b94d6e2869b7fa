"""`python -m modeling_prompt_clip.cli VERB ...`: the command `prompt-clip`; see `dataset_scripts/common/cli.py`."""

import sys

from dataset_scripts.common.cli import EXTRA_OF_MODULE, VERBS, Verb, main

__all__ = ["EXTRA_OF_MODULE", "VERBS", "Verb", "main"]

if __name__ == "__main__":
    sys.exit(main())
