"""Classical filters on a photograph: blur, sharpen, emboss, edges, and finding an eye.

    python models/filters.py [--image PATH] [--save filters.png]

Each filter is a frozen convolution layer with a known kernel (`nbcnn.filters`). The photograph is
of a cat, Chelsea, by Stéfan van der Walt (CC0; see `models/assets/README.md`). Needs Pillow, and
matplotlib for the picture: pip install 'nbcnn[images,viz]'.
"""

import argparse
from pathlib import Path

import numpy as np

import nbcnn as keras
from nbcnn import filters

PHOTOGRAPH = Path(__file__).parent / "assets" / "chelsea.jpg"
# Of the cat's eye at the left: rows and columns of the photograph.
EYE = slice(72, 108), slice(110, 164)
# What a result is shown as: from black to white.
RANGES = {"laplacian": (-0.5, 0.5), "sobel_x": (-1, 1), "sobel_y": (-1, 1)}


def photograph(path=PHOTOGRAPH):
    """The image as float32 (height, width, 3), from 0 to 1."""
    return keras.utils.img_to_array(keras.utils.load_img(path)) / 255


def filtered(image):
    """Results by name: colour for those that are made of each channel, gray for the others."""
    layers = {
        "box": filters.layer(filters.box(7), 3),
        "gaussian": filters.layer(filters.gaussian(13, 2.0), 3),
        "sharpen": filters.layer("sharpen", 3),
        "emboss": filters.layer("emboss", 3),
    }
    found = {name: layer(image[None])[0] for name, layer in layers.items()}
    gray = image.mean(-1, keepdims=True)
    for name in ("laplacian", "sobel_x", "sobel_y"):
        found[name] = filters.layer(name)(gray[None])[0]
    found["sobel_magnitude"] = filters.sobel_magnitude()(gray[None])[0]
    return found


def find(image, template):
    """Where a matched filter responds most to a part of the image, and all responses."""
    kernel = filters.matched(template)
    found = filters.layer(kernel, image.shape[-1], padding="valid")(image[None])[0, ..., 0]
    return np.unravel_index(found.argmax(), found.shape), found


def picture(image, found, save):
    """All results in one figure, written to a file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    for ax, (name, values) in zip(figure.subplots(3, 3).flat, {"image": image, **found}.items()):
        low, high = RANGES.get(name, (0, 1))
        if values.shape[-1] == 3:
            ax.imshow(np.clip(values, 0, 1))
        else:
            ax.imshow(values[..., 0], cmap="gray", vmin=low, vmax=high)
        ax.set_title(name)
        ax.axis("off")
    figure.savefig(save, dpi=80)


def main():
    parser = argparse.ArgumentParser(description="Classical filters on a photograph.")
    parser.add_argument("--image", default=PHOTOGRAPH, help="default: a cat")
    parser.add_argument("--save", default="filters.png", help="default: %(default)s")
    args = parser.parse_args()
    image = photograph(args.image)
    found = filtered(image)
    for name, values in found.items():
        print(f"{name:16} {values.shape} from {values.min():6.2f} to {values.max():5.2f}")
    if args.image == PHOTOGRAPH:
        place, _ = find(image, image[EYE])
        print(f"the eye is at row {place[0]}, column {place[1]}")
    picture(image, found, args.save)
    print(f"saved: {args.save}")


if __name__ == "__main__":
    main()
