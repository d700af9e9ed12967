"""Kim's CNN for sentences: which package of Python's standard library does a docstring speak of?

    python models/text_cnn.py [--device cuda] [--epochs 10] ...

Y. Kim, "Convolutional neural networks for sentence classification" (2014), its "CNN-rand": vectors
of words that are learned, kernels over 3, 4 and 5 words, 100 of each, the greatest response over
the sentence, dropout. The data are on every computer that runs this: the docstrings of the standard
library.
"""

import ast
import re
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import zoo
import zoo_data

import nbcnn as keras

layers = keras.layers

PACKAGES = (
    "asyncio",
    "ctypes",
    "email",
    "http",
    "importlib",
    "logging",
    "multiprocessing",
    "unittest",
)
WORD = re.compile(r"[a-z]+")
UNKNOWN = 1  # 0 fills up


def build(
    input_shape=(64,), classes=8, vocabulary=5000, width=300, filters=100, kernels=(3, 4, 5),
    dropout=0.5,
):  # fmt: skip
    """The network, not yet compiled: `input_shape` (words,), numbers of words below `vocabulary`;
    `width`: of the vectors.
    """
    words = keras.Input(input_shape, dtype="int32")
    x = layers.Embedding(vocabulary, width)(words)
    pooled = [
        layers.GlobalMaxPooling1D()(layers.Conv1D(filters, kernel, activation="relu")(x))
        for kernel in kernels
    ]
    x = layers.Dropout(dropout)(layers.Concatenate()(pooled))
    return keras.Model(words, layers.Dense(classes, activation="softmax")(x))


def docstrings(package):
    """All docstrings of a package of the standard library, without its tests, in a fixed order."""
    folder = Path(sysconfig.get_paths()["stdlib"], package)
    for path in sorted(folder.rglob("*.py")):
        if {"test", "tests"} & set(path.relative_to(folder).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node)
                if text:
                    yield text


def sentences(packages=PACKAGES, least=4):
    """Paragraphs of docstrings as lists of words, without those that name a package, and which
    package it was: (texts, labels). Every text is there once.
    """
    found = {}
    for label, package in enumerate(packages):
        for text in docstrings(package):
            for paragraph in re.split(r"\n\s*\n", text):
                words = [w for w in WORD.findall(paragraph.lower()) if w not in packages]
                if len(words) >= least:
                    found.setdefault(tuple(words), label)
    if len(set(found.values())) < len(packages):
        raise FileNotFoundError(
            "text_cnn: the sources of the standard library are not installed with this Python"
        )
    return list(found), np.array(list(found.values()))


def numbers_of(texts, vocabulary=5000):
    """A number for each of the most frequent words of texts, from 2 on."""
    counts = Counter(word for text in texts for word in text)
    kept = sorted(counts, key=lambda word: (-counts[word], word))[: vocabulary - UNKNOWN - 1]
    return {word: number for number, word in enumerate(kept, UNKNOWN + 1)}


def numbered(texts, numbers, length=64):
    """Texts as numbers (texts, length), int32; words without one are 1, what is too long is cut,
    the rest filled with 0.
    """
    x = np.zeros((len(texts), length), "int32")
    for row, text in zip(x, texts):
        row[: len(text)] = [numbers.get(word, UNKNOWN) for word in text[:length]]
    return x


def main():
    parser = zoo.argument_parser(build, epochs=10, pictures=False)
    add = parser.add_argument
    add("--width", type=int, default=100, help="of vectors of words, default: %(default)s")
    add("--vocabulary", type=int, default=5000, help="default: %(default)s")
    args = parser.parse_args()
    zoo.start(args)
    texts, labels = sentences()
    print(f"{len(texts):,} paragraphs about {', '.join(PACKAGES)}")
    places = np.arange(len(texts))
    train, test = zoo_data.split(places, labels)
    numbers = numbers_of([texts[i] for i in train[0]], args.vocabulary)
    train, test = ((numbered([texts[i] for i in at], numbers), y) for at, y in (train, test))
    model = zoo.loaded(args) or build(
        train[0].shape[1:], len(PACKAGES), args.vocabulary, args.width
    )
    zoo.run(model, zoo_data.of_arrays(train, test, args.batch_size), args)


if __name__ == "__main__":
    main()
