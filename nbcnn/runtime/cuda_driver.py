"""NVIDIA's driver, as far as it is needed here: the only place that calls `cuda.bindings.driver`.

A driver object belongs to one GPU. Addresses are plain numbers; modules, functions, streams, events
and graphs are handles that only go back to the driver. Tests put another object in its place.
"""

from typing import Any, NamedTuple

# Errors after which a GPU can still be used. Others end all work of the process on it.
HARMLESS = {
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUDA_ERROR_INVALID_VALUE",
    "CUDA_ERROR_INVALID_IMAGE",
    "CUDA_ERROR_INVALID_DEVICE",
    "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
    "CUDA_ERROR_NO_BINARY_FOR_GPU",
    "CUDA_ERROR_NOT_FOUND",
    "CUDA_ERROR_NOT_PERMITTED",
    "CUDA_ERROR_NOT_SUPPORTED",
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
}


class CudaError(Exception):
    """A call that the driver refused, or that reports an earlier failure."""

    def __init__(self, call: str, name: str, text: str = ""):
        super().__init__(f"{call}: {name}" + (f" ({text})" if text else ""))
        self.call, self.name, self.text = call, name, text

    @property
    def fatal(self) -> bool:
        """Whether the GPU is lost to this process."""
        return self.name not in HARMLESS and "STREAM_CAPTURE" not in self.name


class Properties(NamedTuple):
    """A GPU: bytes of all memory, and of shared memory that one block may have."""

    name: str
    memory: int
    capability: tuple[int, int]
    multiprocessors: int
    shared: int


class Driver:
    """The driver for GPU `number`. Copies and launches are asynchronous, in a stream's order."""

    def __init__(self, number: int):
        from cuda.bindings import driver

        self._api = driver
        self._call(driver.cuInit, 0)
        self._device = self._call(driver.cuDeviceGet, number)
        # The context that other libraries in this process use as well: arrays can be exchanged.
        self._context = self._call(driver.cuDevicePrimaryCtxRetain, self._device)
        self.enter()

    def _call(self, function: Any, *arguments: Any) -> Any:
        status, *results = function(*arguments)
        if status != self._api.CUresult.CUDA_SUCCESS:
            _, text = self._api.cuGetErrorString(status)
            shown = text.decode() if isinstance(text, bytes) else ""
            raise CudaError(function.__name__, status.name, shown)
        return results[0] if len(results) == 1 else results

    def enter(self) -> None:
        """What follows in this thread goes to this GPU."""
        self._call(self._api.cuCtxSetCurrent, self._context)

    def properties(self) -> Properties:
        api, attribute = self._api, self._api.CUdevice_attribute

        def ask(what: Any) -> int:
            return self._call(api.cuDeviceGetAttribute, what, self._device)

        name = self._call(api.cuDeviceGetName, 256, self._device)
        return Properties(
            name.split(b"\0")[0].decode(),
            self._call(api.cuDeviceTotalMem, self._device),
            (
                ask(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
                ask(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
            ),
            ask(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
            ask(attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
        )

    # -- kernels --------------------------------------------------------------------------------

    def function(self, cubin: bytes, entry: str) -> Any:
        """A kernel out of machine code, ready to be launched; it stays for the process's life."""
        module = self._call(self._api.cuModuleLoadData, cubin)
        return self._call(self._api.cuModuleGetFunction, module, entry.encode())

    def allow_shared(self, function: Any, nbytes: int) -> None:
        """Blocks may have so much dynamic shared memory: above 48 KB that must be said."""
        attribute = self._api.CUfunction_attribute
        wanted = attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        self._call(self._api.cuFuncSetAttribute, function, wanted, nbytes)

    def launch(
        self,
        function: Any,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        shared: int,
        stream: Any,
        parameters: int,
    ) -> None:
        """`parameters`: the address of addresses of the arguments, which are read at once."""
        self._call(self._api.cuLaunchKernel, function, *grid, *block, shared, stream, parameters, 0)

    # -- memory ---------------------------------------------------------------------------------

    def free_bytes(self) -> int:
        return self._call(self._api.cuMemGetInfo)[0]

    def malloc(self, nbytes: int) -> int:
        return int(self._call(self._api.cuMemAlloc, nbytes))

    def free(self, address: int) -> None:
        self._call(self._api.cuMemFree, address)

    def malloc_pinned(self, nbytes: int) -> int:
        """Host memory that the GPU reads by itself, while this process goes on."""
        return int(self._call(self._api.cuMemHostAlloc, nbytes, 0))

    def free_pinned(self, address: int) -> None:
        self._call(self._api.cuMemFreeHost, address)

    def upload(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        self._call(self._api.cuMemcpyHtoDAsync, target, source, nbytes, stream)

    def download(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        self._call(self._api.cuMemcpyDtoHAsync, target, source, nbytes, stream)

    def copy(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        self._call(self._api.cuMemcpyDtoDAsync, target, source, nbytes, stream)

    def device_of(self, address: int) -> int:
        """The number of the GPU whose memory this is; an error where it is no GPU's."""
        wanted = self._api.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        return int(self._call(self._api.cuPointerGetAttribute, wanted, address))

    # -- order ----------------------------------------------------------------------------------

    def stream(self) -> Any:
        """A stream that waits for no other of its own accord."""
        flag = self._api.CUstream_flags.CU_STREAM_NON_BLOCKING
        return self._call(self._api.cuStreamCreate, flag)

    def foreign_stream(self, number: int) -> Any:
        """A stream of another library's, as `__cuda_array_interface__` tells it."""
        return self._api.CUstream(number)

    def synchronize(self, stream: Any) -> None:
        """Wait until all work in the stream is done."""
        self._call(self._api.cuStreamSynchronize, stream)

    def event(self) -> Any:
        flag = self._api.CUevent_flags.CU_EVENT_DISABLE_TIMING
        return self._call(self._api.cuEventCreate, flag)

    def free_event(self, event: Any) -> None:
        """At any time: the driver keeps it until it has happened."""
        self._call(self._api.cuEventDestroy, event)

    def record(self, event: Any, stream: Any) -> None:
        """The event happens when the stream has done its work so far."""
        self._call(self._api.cuEventRecord, event, stream)

    def wait(self, stream: Any, event: Any) -> None:
        """What follows in the stream waits for the event, if it was ever recorded."""
        self._call(self._api.cuStreamWaitEvent, stream, event, 0)

    def finish(self, event: Any) -> None:
        """Wait until the event has happened."""
        self._call(self._api.cuEventSynchronize, event)

    # -- graphs ---------------------------------------------------------------------------------

    def begin_capture(self, stream: Any) -> None:
        """What is put into the stream from now on is written down, not done.

        Relaxed: meanwhile Python may collect garbage, arrays of other libraries' that give their
        memory back. In the other modes the driver refuses that, and the graph as well.
        """
        mode = self._api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        self._call(self._api.cuStreamBeginCapture, stream, mode)

    def end_capture(self, stream: Any) -> Any:
        """What was written down, as one unit."""
        graph = self._call(self._api.cuStreamEndCapture, stream)
        try:
            return self._call(self._api.cuGraphInstantiate, graph, 0)
        finally:
            self._call(self._api.cuGraphDestroy, graph)

    def replay(self, graph: Any, stream: Any) -> None:
        self._call(self._api.cuGraphLaunch, graph, stream)

    def free_graph(self, graph: Any) -> None:
        self._call(self._api.cuGraphExecDestroy, graph)
