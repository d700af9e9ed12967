"""Random bits: Philox4x32-10 (Salmon et al. 2011), as formulas that every device compiles."""

WORD = 0xFFFFFFFF
MULTIPLY_0, MULTIPLY_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85


def philox(c0, c1, c2, c3, k0, k1):
    """Four random 32-bit words from a 128-bit counter and a 64-bit key, all as int64 holding 32
    bits each.

    The high half of a 32 x 32 bit product survives the wrap-around of int64: it is masked after the
    shift.
    """
    for _ in range(10):
        p0, p1 = MULTIPLY_0 * c0, MULTIPLY_1 * c2
        c0 = ((p1 >> 32) & WORD) ^ c1 ^ k0
        c1 = p1 & WORD
        c2 = ((p0 >> 32) & WORD) ^ c3 ^ k1
        c3 = p0 & WORD
        k0, k1 = (k0 + WEYL_0) & WORD, (k1 + WEYL_1) & WORD
    return c0, c1, c2, c3


def dropout_words(group, step, seed, stream):
    """The words that decide elements 4 group .. 4 group + 3 of a dropout layer: key (seed, stream),
    counter (group, step).

    The seed's upper half joins the counter's, so all its 64 bits count.
    """
    return philox(
        group & WORD,
        (group >> 32) & WORD,
        step & WORD,
        (seed >> 32) & WORD,
        seed & WORD,
        stream & WORD,
    )


def keep_limit(keep):
    """An element is kept where its word is at most this."""
    limit = int(keep * 4294967296.0) - 1
    return 0 if limit < 0 else limit
