import subprocess
import sys

import pytest

# Ctrl-C at the worst moment: inside the hooks that Python runs around a fork
INTERRUPTED = """
import os, signal, sys
from android_bench.host import HostDevice

os.register_at_fork(before=lambda: signal.raise_signal(signal.SIGINT))
device = HostDevice()
try:
    device.run([sys.executable, "-c", "import time; time.sleep(120)"], timeout_s=120)
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
device.remove()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is run after a fork")
def test_ctrl_c_while_a_program_is_started_is_not_lost():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "interrupted True\n"
    assert done.stderr == ""
