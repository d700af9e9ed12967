"""Writes `keras_files.tar.xz`: models of `cases.files` in files of real Keras, with what they
predict and the weights after the next training step; some of these weights in Keras's older `.h5`.

With a folder as an argument: also reads the files of this package in it, `<number>.keras` and
`<number>.npz` (as `write_own` of `tests/test_keras_files.py` makes them), and compares.

    KERAS_BACKEND=jax python tests/golden/record_files.py [folder]
"""

import io
import sys
import tarfile
import tempfile
from pathlib import Path

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from cases import files

HERE = Path(__file__).parent


def expected(model, case):
    """Predictions, and the weights after one more step."""
    found = {
        f"p{i}": a for i, a in enumerate(files.flat(model.predict_on_batch(files.data(case)[0])))
    }
    files.trained(model, case, 1)
    found.update({f"w{i}": w for i, w in enumerate(model.get_weights())})
    return found


def record():
    with (
        tempfile.TemporaryDirectory() as folder,
        tarfile.open(HERE / "keras_files.tar.xz", "w:xz", preset=9) as archive,
    ):
        for number, case in enumerate(files.CASES):
            keras.utils.clear_session()
            model = files.made(case, keras)
            files.trained(model, case, 1)
            path = Path(folder, f"{number}.keras")
            model.save(path)
            names = [path.name, f"{number}.npz"]
            if case.name in files.LEGACY:
                names.append(f"{number}.h5")
                model.save(Path(folder, names[-1]))
                index = Path(folder, f"{number}.weights.json")
                model.save_weights(index, max_shard_size=files.SHARD)
                names += [
                    index.name,
                    *(p.name for p in Path(folder).glob(f"{number}_*.weights.h5")),
                ]
            results = io.BytesIO()
            np.savez(results, **expected(model, case))
            Path(folder, f"{number}.npz").write_bytes(results.getvalue())
            for name in names:
                info = archive.gettarinfo(Path(folder, name), name)
                info.mtime = info.uid = info.gid = 0
                info.uname = info.gname = ""
                with open(Path(folder, name), "rb") as file:
                    archive.addfile(info, file)


def compare(folder):
    bad = 0
    for number, case in enumerate(files.CASES):
        path = Path(folder, f"{number}.keras")
        if not path.exists():
            continue
        try:
            keras.utils.clear_session()
            model = keras.saving.load_model(path, custom_objects=files.own_classes(keras))
            found = expected(model, case)
            with np.load(path.with_suffix(".npz")) as wanted:
                for name in wanted.files:
                    np.testing.assert_allclose(
                        found[name], wanted[name], rtol=1e-5, atol=1e-5, err_msg=name
                    )
            for ending in (".weights.h5", ".weights.json"):
                fresh = files.made(case, keras)
                fresh.load_weights(path.with_suffix(ending))
                with np.load(path.with_suffix(".now.npz")) as wanted:
                    for i, weight in enumerate(fresh.get_weights()):
                        np.testing.assert_array_equal(weight, wanted[f"w{i}"])
            print(f"{case.name}: equal")
        except Exception as error:
            bad += 1
            print(f"{case.name}: {type(error).__name__}: {str(error)[:600]}")
    print(f"{len(files.CASES)} models, {bad} differ")
    return bad


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(compare(sys.argv[1]) > 0)
    record()
