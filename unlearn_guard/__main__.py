"""`python -m unlearn_guard`: the command line where no script was installed."""

from unlearn_guard.cli import main

if __name__ == "__main__":
    main()
