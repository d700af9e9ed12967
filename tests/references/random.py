"""Dropout with Philox4x32-10 written in Python integers."""

import numpy as np

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter, key):
    """Four words from four words of counter and two of key (Salmon et al. 2011, figure 2)."""
    counter, key = list(counter), list(key)
    for _ in range(10):
        low, high = counter[0] * MULTIPLIERS[0], counter[2] * MULTIPLIERS[1]
        counter = [
            (high >> 32) ^ counter[1] ^ key[0],
            high % 2**32,
            (low >> 32) ^ counter[3] ^ key[1],
            low % 2**32,
        ]
        key = [(k + w) % 2**32 for k, w in zip(key, WEYL)]
    return counter


def dropout(spec, x, seed):
    x = np.asarray(x, np.float64)
    model, step = int(seed[0]) % 2**64, int(seed[1]) % 2**32
    words = []
    for group in range(-(-x.size // 4)):
        counter = (group % 2**32, group >> 32, step, model >> 32)
        words += philox(counter, (model % 2**32, spec.stream % 2**32))
    kept = np.array(words[: x.size], np.float64) < spec.keep * 2.0**32
    return np.where(kept, x.reshape(-1) * spec.scale, 0).reshape(x.shape)
