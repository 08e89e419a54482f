"""How much memory a call takes, as the allocator of tensors counts it."""

from __future__ import annotations

import gc

import tensorflow as tf


def peak(work, x):
    """The most that a second call holds in tensors, above what was there.

    What the first one has left behind counts.
    """
    gc.collect()
    before = tf.config.experimental.get_memory_info("CPU:0")["current"]
    work(x)
    tf.config.experimental.reset_memory_stats("CPU:0")
    work(x)
    return tf.config.experimental.get_memory_info("CPU:0")["peak"] - before
