"""Keras's old module of pictures in files; see `nbcnn.utils`."""

from nbcnn.image_files import array_to_img, img_to_array, load_img, save_img, smart_resize

__all__ = ["array_to_img", "img_to_array", "load_img", "save_img", "smart_resize"]
