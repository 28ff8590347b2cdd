"""`python -m benchmarks`, which `make bench` calls: the derivative step, timed three ways."""

from .derivative_step import main

if __name__ == "__main__":
    main()
