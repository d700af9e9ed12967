"""Updates of all weights of a network: nbcnn has them in one flat buffer, PyTorch in a list."""

from op_cases.case import Case


def lenet():
    shapes = [(6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)]
    return [part for shape in shapes for part in (shape, shape[:1])]


def normalized(f, c, k):
    return [(f, c, k, k), (f,), (f,)]


def resnet20():
    parts, channels = normalized(16, 3, 3), 16
    for f in (16, 32, 64):
        for _ in range(3):
            parts += normalized(f, channels, 3) + normalized(f, f, 3)
            parts += normalized(f, channels, 1) if f != channels else []
            channels = f
    return [*parts, (10, 64), (10,)]


def resnet50():
    parts, channels = normalized(64, 3, 7), 64
    for f, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            parts += normalized(f, channels, 1) + normalized(f, f, 3) + normalized(4 * f, f, 1)
            parts += normalized(4 * f, channels, 1) if block == 0 else []
            channels = 4 * f
    return [*parts, (1000, 2048), (1000,)]


def mobilenet_v2():
    parts, channels = normalized(32, 3, 3), 32
    rows = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
    for widen, f, blocks in rows:
        for _ in range(blocks):
            hidden = widen * channels
            parts += normalized(hidden, channels, 1) if widen > 1 else []
            parts += normalized(hidden, 1, 3) + normalized(f, hidden, 1)
            channels = f
    return [*parts, *normalized(1280, channels, 1), (1000, 1280), (1000,)]


def cases():
    for network in (lenet, resnet20, mobilenet_v2, resnet50):
        shapes = [list(shape) for shape in network()]
        for optimizer in ("momentum", "adam"):
            name = f"{network.__name__} {optimizer}, {len(shapes)} tensors"
            yield Case(name, "update", optimizer, "forward", {"shapes": shapes})
