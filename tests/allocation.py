"""How much memory a call takes, as the allocator of tensors counts it."""

from __future__ import annotations

import tensorflow as tf


def peak(work, x):
    """The most that one call holds in tensors, above what is there."""
    work(x)
    tf.config.experimental.reset_memory_stats("CPU:0")
    before = tf.config.experimental.get_memory_info("CPU:0")["current"]
    work(x)
    return tf.config.experimental.get_memory_info("CPU:0")["peak"] - before
