"""The driver's calls: on a machine without a driver each ends where that is looked for, when its
arguments have been taken.
"""

import pytest
from processes import needs_numba_cuda

from nbcnn.runtime import cuda
from nbcnn.runtime.cuda_driver import CudaError, Driver

pytestmark = [
    needs_numba_cuda,
    pytest.mark.skipif(
        cuda.driver_library() is not None, reason="needs a machine without NVIDIA's driver"
    ),
]


@pytest.fixture
def driver():
    from cuda.bindings import driver as api

    found = object.__new__(Driver)
    found._api, found._device, found._context = api, api.CUdevice(0), api.CUcontext(1)
    return found


def calls(driver):
    """Every method with arguments as the device and its programs give them."""
    api = driver._api
    stream, event, function = api.CUstream(5), api.CUevent(6), api.CUfunction(7)
    return {
        "enter": (),
        "function": (b"\x7fELF", "entry"),
        "allow_shared": (function, 100_000),
        "launch": (function, (1, 2, 3), (32, 1, 1), 0, stream, 123456),
        "free_bytes": (),
        "malloc": (16,),
        "free": (123,),
        "malloc_pinned": (16,),
        "free_pinned": (123,),
        "upload": (123, 456, 8, stream),
        "download": (456, 123, 8, stream),
        "copy": (123, 124, 8, stream),
        "stream": (),
        "synchronize": (stream,),
        "device_of": (123,),
        "event": (),
        "free_event": (event,),
        "record": (event, stream),
        "wait": (stream, event),
        "finish": (event,),
        "begin_capture": (stream,),
        "end_capture": (stream,),
        "replay": (api.CUgraphExec(8), stream),
        "free_graph": (api.CUgraphExec(8),),
        "properties": (),
    }


def test_all_calls_are_here(driver):
    methods = {name for name in vars(Driver) if not name.startswith("_")}
    assert methods - set(calls(driver)) == {"foreign_stream"}


def test_arguments_are_what_the_bindings_take(driver):
    from cuda.pathfinder import DynamicLibNotFoundError

    for name, arguments in calls(driver).items():
        with pytest.raises(DynamicLibNotFoundError):
            getattr(driver, name)(*arguments)
    assert int(driver.foreign_stream(2)) == 2


def test_others_are_refused(driver):
    with pytest.raises(TypeError):
        driver.upload(object(), 456, 8, driver._api.CUstream(5))


def test_an_error_has_its_name(driver, monkeypatch):
    out_of_memory = driver._api.CUresult.CUDA_ERROR_OUT_OF_MEMORY

    class Api:
        CUresult = driver._api.CUresult

        @staticmethod
        def cuMemAlloc(nbytes):
            return (out_of_memory, None)

        @staticmethod
        def cuGetErrorString(status):
            return (Api.CUresult.CUDA_SUCCESS, b"out of memory")

    driver._api = Api
    with pytest.raises(CudaError) as error:
        driver.malloc(16)
    assert str(error.value) == "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (out of memory)"
    assert not error.value.fatal
    assert CudaError("a", "CUDA_ERROR_ILLEGAL_ADDRESS").fatal
    assert not CudaError("a", "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED").fatal


def test_garbage_may_be_collected_while_a_graph_is_captured(driver):
    """The driver refuses to free memory in a thread that captures, unless the mode is relaxed."""
    api, given = driver._api, []

    class Api:
        CUresult, CUstreamCaptureMode = api.CUresult, api.CUstreamCaptureMode

        @staticmethod
        def cuStreamBeginCapture(stream, mode):
            given.append(mode)
            return (api.CUresult.CUDA_SUCCESS,)

    driver._api = Api
    driver.begin_capture(api.CUstream(5))
    assert given == [api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED]
