"""An emulated phone, and a private adb server that it is plugged into.

with EmulatedPhone(tmp_path / "phone", server) as phone:
    device = AdbDevice(phone.serial)
    phone.unplug()
"""

from phone.adb_server import AdbServer, start_adb_server
from phone.emulated import EmulatedPhone

__all__ = ["AdbServer", "EmulatedPhone", "start_adb_server"]
