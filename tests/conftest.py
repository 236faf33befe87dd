"""For all tests: one thread, as the networks are tiny and several test processes may run at once."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch; child processes inherit it
