"""`python -m benchmarks [PART ...] [--quick]`: run the parts named, or all, one after the other; `make bench`."""

import argparse
import os
import platform
import subprocess
import sys

PARTS = ("store", "orders", "worker", "streams", "notify", "overhead", "strategies")


def main() -> int:
    """Run the parts; the exit code is that of the first one that failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that it works, no more")
    options = parser.parse_args()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, load {load}, Python {sys.version.split()[0]}")
    failed = 0
    for part in options.parts or PARTS:
        print(f"--- {part}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{part}", *(["--quick"] if options.quick else [])]
        failed = failed or subprocess.run(command, check=False).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
