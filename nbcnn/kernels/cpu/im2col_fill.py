"""Gathering the input of a convolution as a matrix: a row per output pixel, a column per (tap,
channel).

The columns are cut into *blocks* that fit a buffer, a block into *pieces*: neighbouring taps of a
kernel row with all their channels (consecutive numbers of an NHWC image), or some channels of one
tap where a block is narrower.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nbcnn.kernels.cpu import jit

PIXELS = 128  # most rows of the buffer: as steps of a sum, a panel of them fills half of L1


class Image(NamedTuple):
    """A batch of images (n, h, w, c) in groups of channels, and the grid of pixels that reads it.

    Row p of the matrix is pixel (i, j) = (p // columns % rows, p % columns) of the grid on image
    p // (rows * columns); a piece of it starts at (i * stride_h + piece.row, j * stride_w +
    piece.column).
    """

    n: int
    h: int
    w: int
    c: int
    groups: int
    rows: int
    columns: int
    stride_h: int
    stride_w: int

    @property
    def pixels(self) -> int:
        return self.n * self.rows * self.columns


class Piece(NamedTuple):
    row: int
    column: int
    taps: int  # side by side, at `column`, `column` + 1, ...
    channel: int
    channels: int  # of each tap

    @property
    def width(self) -> int:
        return self.taps * self.channels


class Columns(NamedTuple):
    """Tables of pieces and of blocks (first piece, end of pieces, first column, columns)."""

    pieces: np.ndarray
    blocks: np.ndarray


def cut(taps: list[tuple[int, int]], image: Image, most: int) -> Columns:
    """Columns for these taps (row, column), in their order, in blocks of at most `most` columns."""
    channels = image.c // image.groups
    pieces: list[Piece] = []
    for row, column in taps:
        last = pieces[-1] if pieces and image.groups == 1 else Piece(0, 0, 0, 0, most)
        follows = (row, column) == (last.row, last.column + last.taps)
        if last.taps and follows and last.width + channels <= most:
            pieces[-1] = last._replace(taps=last.taps + 1)
        else:
            for first in range(0, channels, most):
                pieces.append(Piece(row, column, 1, first, min(most, channels - first)))
    blocks, start, column, width = [], 0, 0, 0
    for k, piece in enumerate(pieces):
        if width + piece.width > most:
            blocks.append((start, k, column, width))
            start, column, width = k, column + width, 0
        width += piece.width
    if pieces:
        blocks.append((start, len(pieces), column, width))
    tables = np.array(pieces, np.int64), np.array(blocks, np.int64)
    return Columns(tables[0].reshape(-1, 5), tables[1].reshape(-1, 4))


@cache
def filler(item: int):
    """fill(image, first, pixels, group, pieces, source, buffer, pitch): a block of rows.

    Row i of the block, at buffer[i * pitch], gets the pieces of pixel first + i in that group of
    channels, zeros where they lie outside the image.
    """

    @jit.helper
    def copy(buffer, at, source, origin, count):
        to, start = np.uint64(at), np.uint64(origin)
        for k in range(np.uint64(count)):
            buffer[to + k] = source[start + k]

    @jit.helper
    def clear(buffer, at, count):
        to = np.uint64(at)
        for k in range(np.uint64(count)):
            buffer[to + k] = 0

    def fill(image, first, pixels, group, pieces, source, buffer, pitch):
        group_channel = group * (image.c // image.groups)
        for i in range(pixels):
            row, left = (first + i) // image.columns, (first + i) % image.columns
            top, batch = row % image.rows * image.stride_h, row // image.rows * image.h
            to = i * pitch
            for k in range(len(pieces)):
                line, column = top + pieces[k, 0], left * image.stride_w + pieces[k, 1]
                taps, length = pieces[k, 2], pieces[k, 4]
                before, end = 0, taps
                if 0 <= line < image.h:
                    before = min(max(-column, 0), taps)
                    end = max(min(taps, image.w - column), before)
                    pixel = (batch + line) * image.w + column + before
                    origin = pixel * image.c + group_channel + pieces[k, 3]
                    copy(buffer, to + before * length, source, origin, (end - before) * length)
                else:
                    end = 0
                clear(buffer, to, before * length)
                clear(buffer, to + end * length, (taps - end) * length)
                to += taps * length

    return jit.helper(fill)
