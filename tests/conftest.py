"""What holds for every test.

Switches of tests (`TEST_SOAK_REQUESTS` and others) do not begin with RENGA_: programs that tests start inherit them,
which refuse what is no setting.
"""

from hypothesis import HealthCheck, settings

# The first draw of a fresh checkout builds hypothesis' tables of Unicode, perhaps on a busy machine: slow is not wrong.
settings.register_profile("renga", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("renga")
