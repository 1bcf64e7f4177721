"""`python -m seedbed_server`."""

if __name__ == "__main__":
    # Not at the top: child processes import this module too, and need nothing of it.
    from seedbed_server.main import main

    main()
