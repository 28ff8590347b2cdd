"""`python -m benchmarks`, which `make bench` calls: the derivative engine against its peers."""

from .engine import main

if __name__ == "__main__":
    main()
