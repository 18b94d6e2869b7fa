"""`prompt-clip data VERB ...`: a table of verbs, each imported only when it is called."""

import importlib
import sys

from dataset_scripts.common.suggest import did_you_mean

__all__ = ["VERBS", "main"]

VERBS = {
    "check": ("dataset_scripts.commands.check", "find out what a folder holds, and everything that is wrong with it"),
    "convert": (
        "dataset_scripts.commands.convert",
        "turn a folder into verified Parquet files, images inside",
    ),
    "push": ("dataset_scripts.commands.push", "put a converted set on the Hub, with its card"),
}
"""Name -> module with a `main(argv)`, and one line of help."""

_WRONG_USE = 2


def main(argv: list[str] | None = None) -> int:
    """Runs one verb and returns its exit status: 0 success, 1 failure, 2 wrong use."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0
    verb = arguments[0]
    if verb not in VERBS:
        hint = did_you_mean(verb, VERBS) or f" Choose one of {', '.join(VERBS)}."
        sys.stderr.write(f"prompt-clip data: error: unknown verb {verb!r}.{hint}\n")
        return _WRONG_USE
    return importlib.import_module(VERBS[verb][0]).main(arguments[1:])


def _overview() -> str:
    width = max(map(len, VERBS))
    return "\n".join(
        [
            "usage: prompt-clip data VERB ...   (prompt-clip data VERB --help tells more)",
            "",
            "Look after a data set before anything is trained on it.",
            "",
            "verbs:",
            *(f"  {verb.ljust(width)}  {about}" for verb, (_, about) in VERBS.items()),
            "",
            "examples:",
            "  prompt-clip data check CUHK-PEDES",
            "  prompt-clip data convert CUHK-PEDES cuhk-parquet",
            "  prompt-clip data push cuhk-parquet --repo my-lab/cuhk-pedes",
            "",
        ]
    )
