"""`kehu`, and `python -m infra.cli`."""

import sys

from domain.rules.own import UnusableRules


def start() -> None:
    """Run the command line; rules that cannot be used are told in one line, like any error."""
    try:
        # Rules are read when the modules that use them are imported.
        from infra.cli.main import main
    except UnusableRules as error:
        sys.stderr.write(f"kehu: {error}\n")
        sys.exit(2)
    main()


if __name__ == "__main__":
    start()
