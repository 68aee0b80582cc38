"""Settings of hypothesis for the whole suite: `--hypothesis-profile=long` runs many more examples."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_ALWAYS = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("default", _ALWAYS, max_examples=100, stateful_step_count=25)
settings.register_profile("long", _ALWAYS, max_examples=3000, stateful_step_count=60)
settings.load_profile("default")
