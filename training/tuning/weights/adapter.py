"""Adapters on the command line: a checkpoint's average in eight bits, or the mean of several.

Run as `python -m training.tuning.weights.adapter OUT.npz CHECKPOINT.pt [CHECKPOINT.pt ...]`.
"""

import argparse
import pathlib

from training.tuning.weights import lora


def main() -> None:
    """Write the adapter of a run as one small int8 file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("adapters", type=pathlib.Path, nargs="+", help="of several, the mean of what they change")
    arguments = parser.parse_args()
    adapters = [lora.load(path) for path in arguments.adapters]
    lora.write_int8(adapters[0] if len(adapters) == 1 else lora.mean(adapters), arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
