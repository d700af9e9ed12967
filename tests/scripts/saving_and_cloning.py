"""Models in files, as configurations and as JSON; clones; weights moved between models."""

import os
import tempfile

from library import digits, small

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(20)
folder = tempfile.mkdtemp()
(x_train, y_train), (x_test, y_test) = digits(small(200, 8), small(50, 4))


def get_model():
    inputs = keras.Input(shape=(8, 8, 1), name="digits")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv_1")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    outputs = layers.Dense(10, activation="softmax", name="predictions")(x)
    return keras.Model(inputs=inputs, outputs=outputs, name="three")


def outputs_of(model):
    return model.predict(x_test, verbose=0)


model = get_model()
model.compile(
    optimizer=keras.optimizers.Adam(3e-3),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
model.fit(x_train, y_train, batch_size=small(40, 4), epochs=2, shuffle=False, verbose=0)

# The whole model: what it computes, how it was compiled, and where its optimizer was.
path = os.path.join(folder, "path_to_my_model.keras")
model.save(path)
reconstructed_model = keras.models.load_model(path)
np.testing.assert_allclose(outputs_of(model), outputs_of(reconstructed_model), rtol=1e-5, atol=1e-6)
assert int(reconstructed_model.optimizer.iterations) == int(model.optimizer.iterations)
for each in (model, reconstructed_model):
    each.fit(x_train, y_train, batch_size=small(40, 4), epochs=1, shuffle=False, verbose=0)
np.testing.assert_allclose(outputs_of(model), outputs_of(reconstructed_model), rtol=1e-3, atol=1e-5)
assert keras.saving.load_model(path, compile=False).get_layer("norm").momentum == 0.99

# The architecture alone.
config = model.get_config()
assert config["name"] == "three"
new_model = keras.Model.from_config(config)
assert [w.shape for w in new_model.weights] == [w.shape for w in model.weights]
assert np.abs(outputs_of(new_model) - outputs_of(model)).max() > 1e-3
json_config = model.to_json()
from_json = keras.models.model_from_json(json_config)
assert [layer.name for layer in from_json.layers] == [layer.name for layer in model.layers]
layer_config = model.get_layer("conv_1").get_config()
layer = layers.Conv2D.from_config(layer_config)
assert (layer.filters, layer.kernel_size, layer.padding) == (8, (3, 3), "same")
again = keras.layers.deserialize(keras.layers.serialize(layer))
assert again.get_config() == layer.get_config()

# Clones have weights of their own; a function may put other layers in their place.
clone = keras.models.clone_model(model)
clone.set_weights(model.get_weights())
np.testing.assert_allclose(outputs_of(clone), outputs_of(model), rtol=1e-5, atol=1e-6)


def to_average(layer):
    if isinstance(layer, layers.MaxPooling2D):
        return layers.AveragePooling2D(2, name=layer.name)
    return layer.__class__.from_config(layer.get_config())


smooth = keras.models.clone_model(model, clone_function=to_average)
assert isinstance(smooth.layers[3], layers.AveragePooling2D)

# Weights from memory and from files; a part of a model into another.
weights_path = os.path.join(folder, "ckpt.weights.h5")
model.save_weights(weights_path)
smooth.load_weights(weights_path)
for one, two in zip(model.get_weights(), smooth.get_weights()):
    np.testing.assert_array_equal(one, two)

pretrained = keras.Model(model.inputs, model.layers[-2].output, name="features")
classifier = keras.Sequential(
    [pretrained, layers.Dense(5, activation="softmax", name="five")], name="transferred"
)
assert classifier.layers[0].trainable_weights[0] is model.trainable_weights[0]
single = layers.Dense(10, name="other")
single.build((None, 128))
single.set_weights(model.get_layer("predictions").get_weights())
np.testing.assert_array_equal(single.kernel, model.get_layer("predictions").kernel)

# Models of several kinds go into files.
nested = keras.Sequential([keras.Input((8, 8, 1)), get_model(), layers.Dense(3)])
nested.save(os.path.join(folder, "nested.keras"))
loaded = keras.models.load_model(os.path.join(folder, "nested.keras"))
np.testing.assert_allclose(outputs_of(nested), outputs_of(loaded), rtol=1e-5, atol=1e-6)


@keras.saving.register_keras_serializable()
class CustomModel(keras.Model):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.flatten, self.dense = layers.Flatten(), layers.Dense(units)

    def call(self, inputs):
        return self.dense(self.flatten(inputs))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


custom = CustomModel(units=6)
custom.compile("adam", "mse")
custom.fit(x_train, np.zeros((len(x_train), 6)), epochs=1, batch_size=small(40, 4), verbose=0)
custom.save(os.path.join(folder, "custom.keras"))
loaded = keras.models.load_model(os.path.join(folder, "custom.keras"))
assert loaded.units == 6
np.testing.assert_allclose(outputs_of(custom), outputs_of(loaded), rtol=1e-5, atol=1e-6)
try:
    model.save(os.path.join(folder, "model.pickle"))
except ValueError as error:
    print("refused:", str(error)[:80])
else:
    raise AssertionError("a file of unknown kind was written")
