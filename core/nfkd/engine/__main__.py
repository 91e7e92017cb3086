"""``python -m nfkd.engine connect|serve|stop|status``."""

from __future__ import annotations

import sys

from nfkd.engine.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
