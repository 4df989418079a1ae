"""The computer under the course: what it is and has, where things are kept, and whether the lessons can run on it.

Nothing here imports TensorFlow or Keras, so that what is broken can be named instead of crashing the check.
"""

from effnet_helpers.machine.allocation import keep_freed_memory, kernel_environment
from effnet_helpers.machine.cache import (
    cache_dir,
    clear_cache,
    free_cache_gb,
    is_as_written,
    note_written,
    writable_folder,
)
from effnet_helpers.machine.checks import NOTE, OK, PROBLEM, Readiness, check_computer
from effnet_helpers.machine.cluster import FIRST_PORT, Cluster, find_cluster, hosts_of
from effnet_helpers.machine.facts import (
    KERAS_SETTINGS,
    foreign_keras_settings,
    from_here,
    keras_home,
    memory_gb,
    usable_cores,
    without_home,
)
from effnet_helpers.machine.network import why_unreachable
from effnet_helpers.machine.pulse import PULSE, beat
from effnet_helpers.machine.stored_arrays import CacheWarning, read_array, write_array
