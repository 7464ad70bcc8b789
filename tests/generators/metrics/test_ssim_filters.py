"""SSIM without numba, which is an extra."""

import subprocess
import sys


def test_filters_stand_in_where_numba_is_not_installed():
    program = "import sys; sys.modules['numba'] = None; from generators.metrics.ssim import Windows; print(Windows)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found == "<class 'generators.metrics.ssim_filters.Windows'>\n"
