"""How much work `peers_cuda.py` gives each model: a CPU's batches leave a large GPU idle.

SCALE: gpu (batches four times as large, more of them, at most half a gigabyte of images), tiny (one
batch of two images), or none for the sizes of `model_set.py`.
"""

FACTOR, STEPS, MOST_BYTES = 4, 40, 512 << 20


def scaled(setting, scale=None):
    """The setting of `model_set.MODELS` with another batch and number of steps."""
    if scale is None:
        return setting
    if scale == "tiny":
        return setting._replace(batch=2, steps=1)
    batch = setting.batch * FACTOR
    height, width, channels = setting.shape
    room = MOST_BYTES // (4 * batch * height * width * channels)
    return setting._replace(batch=batch, steps=max(2, min(STEPS, room)))
