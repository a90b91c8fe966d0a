"""`kehu`, and `python -m infra.cli`."""

import signal
import sys


def start() -> None:
    """Run the command line; rules that cannot be used are told in one line, like any error."""
    # Imports take a second or two, and who ends the command meanwhile wants no traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from domain.rules.own import UnusableRules

    try:
        # Rules are read when the modules that use them are imported.
        from infra.cli.main import main
    except UnusableRules as error:
        sys.stderr.write(f"kehu: {error}\n")
        sys.exit(2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


if __name__ == "__main__":
    start()
