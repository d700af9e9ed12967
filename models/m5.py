"""M5: one-dimensional convolutions on raw sound; here, which instrument plays a note.

    python models/m5.py [--folder SPEECH_COMMANDS] [--device cuda] [--epochs 10] ...

W. Dai et al., "Very deep convolutional neural networks for raw waveforms" (2017). At the widths and
the stride of PyTorch's tutorial "Speech command classification", `build(widths=(32, 32, 64, 64),
stride=16)`, it has that one's 26,915 trainable parameters; the paper's widths are the default.

No recordings come with nbcnn: notes of five instruments are computed, each by the physics or the
arithmetic that synthesizers use. `--folder` reads recordings instead, of one folder a class, as the
Speech Commands data set has them (WAV files of 16 bits).
"""

import wave
from pathlib import Path

import numpy as np
import zoo
import zoo_data

import nbcnn as keras

layers = keras.layers

RATE = 8000  # samples a second


def build(input_shape=(8000, 1), classes=35, widths=(128, 128, 256, 512), stride=4):
    """The network, not yet compiled; `stride` is that of the first kernel, of 80 samples."""
    parts = [keras.Input(input_shape)]
    for index, width in enumerate(widths):
        kernel, step = (80, stride) if index == 0 else (3, 1)
        parts += [
            layers.Conv1D(width, kernel, strides=step, padding="same"),
            layers.BatchNormalization(momentum=0.9),
            layers.Activation("relu"),
            layers.MaxPooling1D(4),
        ]
    parts += [layers.GlobalAveragePooling1D(), layers.Dense(classes, activation="softmax")]
    return keras.Sequential(parts)


def string(rng, pitch, time):
    """A plucked string: noise in a delay line with a filter (Karplus and Strong 1983)."""
    period = round(RATE / pitch)
    sound = np.zeros(len(time) + period + 1)
    sound[1 : period + 1] = rng.uniform(-1, 1, period)
    for start in range(period + 1, len(sound), period):
        end = min(start + period, len(sound))
        before = slice(start - period, end - period)
        sound[before.start + period : end] = 0.498 * (
            sound[before] + sound[before.start - 1 : before.stop - 1]
        )
    return sound[period + 1 :]


def organ(rng, pitch, time):
    """Pipes of four octaves, at once there and of constant strength."""
    phases = rng.uniform(0, 2 * np.pi, 4)
    drawbars = rng.uniform(0.3, 1, 4)
    tones = (2 * np.pi * pitch * 2**k * time + phase for k, phase in enumerate(phases))
    return sum(a * np.sin(t) for a, t in zip(drawbars, tones))


def bell(rng, pitch, time):
    """Frequency modulation at an irrational ratio, decaying (Chowning 1973)."""
    decay = np.exp(-time * rng.uniform(2, 4))
    return decay * np.sin(2 * np.pi * pitch * time + 5 * decay * np.sin(2.8 * np.pi * pitch * time))


def reed(rng, pitch, time):
    """Odd harmonics, as a closed tube has them, swelling, with vibrato."""
    depth = rng.uniform(1, 3)
    phase = 2 * np.pi * pitch * time + depth * np.sin(2 * np.pi * 5 * time)
    swell = 1 - np.exp(-time * rng.uniform(10, 30))
    return swell * sum(np.sin(k * phase) / k for k in (1, 3, 5, 7))


def drum(rng, pitch, time):
    """A skin whose pitch falls, and noise."""
    phase = 2 * np.pi * pitch / 2 * (time + 0.05 * (1 - np.exp(-20 * time)))
    return np.exp(-8 * time) * (np.sin(phase) + 0.5 * rng.normal(size=len(time)))


INSTRUMENTS = (string, organ, bell, reed, drum)


def notes(count, length=8000, noise=0.2, seed=0):
    """Notes of five instruments at random pitches and times, in noise: sounds (count, length, 1) of
    standard deviation 1, float32, and which instrument it is.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(INSTRUMENTS), count)
    sounds = np.empty((count, length))
    for sound, label in zip(sounds, labels):
        pitch = 110 * 2 ** rng.uniform(0, 3)
        begin = rng.integers(0, length // 4)
        played = np.zeros(length)
        played[begin:] = INSTRUMENTS[label](rng, pitch, np.arange(length - begin) / RATE)
        sound[:] = played / np.abs(played).max() + rng.normal(scale=noise, size=length)
    sounds /= sounds.std(axis=1, keepdims=True)
    return sounds[..., None].astype("float32"), labels


def recordings(folder, length=8000, most=1000):
    """Sounds and labels of FOLDER/CLASS/*.wav, at most so many of a class, and the classes' names.
    Shorter ones are filled with silence, longer ones cut, two channels averaged. Recordings of
    16,000 samples a second are halved, others are refused.
    """
    names = sorted(path.name for path in Path(folder).iterdir() if any(path.glob("*.wav")))
    if len(names) < 2:
        raise ValueError(f"m5: --folder must have a folder of WAV files a class, got {folder}")
    sounds, labels = [], []
    for label, name in enumerate(names):
        for path in sorted(Path(folder, name).glob("*.wav"))[:most]:
            sounds.append(read(path, length))
            labels.append(label)
    return np.stack(sounds)[..., None], np.array(labels), names


def read(path, length):
    """The beginning of a recording, from -1 to 1, at `RATE`."""
    with wave.open(str(path)) as file:
        rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
        frames = file.readframes(file.getnframes())
    if width != 2 or rate not in (RATE, 2 * RATE):
        raise ValueError(
            f"m5: {path} must have 16 bits and {RATE} or {2 * RATE} samples a second, got "
            f"{8 * width} and {rate}"
        )
    sound = np.frombuffer(frames, "<i2").reshape(-1, channels).mean(axis=1) / 2**15
    if rate == 2 * RATE:  # the mean of neighbours keeps what is too high from folding back
        sound = sound[: len(sound) // 2 * 2].reshape(-1, 2).mean(axis=1)
    filled = np.zeros(length, "float32")
    filled[: len(sound)] = sound[:length]
    return filled


def main():
    parser = zoo.argument_parser(build, epochs=10, pictures=False)
    add = parser.add_argument
    add("--folder", help="of recordings, one folder a class (default: notes that are computed)")
    add("--count", type=int, default=600, help="notes to train with, default: %(default)s")
    add("--stride", type=int, default=16, help="of the first kernel, default: %(default)s")
    args = parser.parse_args()
    zoo.start(args)
    if args.folder:
        x, y, names = recordings(args.folder)
        train, test = zoo_data.split(x, y)
    else:
        names = [instrument.__name__ for instrument in INSTRUMENTS]
        train, test = notes(args.count, seed=args.seed), notes(200, seed=1000)
    print(f"classes: {', '.join(names)}")
    model = zoo.loaded(args) or build(
        train[0].shape[1:], len(names), widths=(32, 32, 64, 64), stride=args.stride
    )
    zoo.run(model, zoo_data.of_arrays(train, test, args.batch_size), args)


if __name__ == "__main__":
    main()
