from hypothesis import HealthCheck, settings
from phone.fixtures import adb_of_the_tests, any_phone, private_adb, start_phone  # noqa: F401

# A machine that is busy, as one that measures is, makes an example slow and not wrong.
settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("busy")
