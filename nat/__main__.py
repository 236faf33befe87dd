"""`python -m nat` is `nat`."""

from nat.main import main

if __name__ == "__main__":
    main()
