"""`python healthy.py URL`: exit code 0 if what is there answers with a success. For health checks of containers."""

import sys
import urllib.request

SECONDS = 8  # less than the check's own limit


def main(url: str) -> int:
    """Ask once, without a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=SECONDS).close()
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
