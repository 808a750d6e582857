"""``python -m zslbench``."""

from zslbench.cli import main

if __name__ == "__main__":
    main()
