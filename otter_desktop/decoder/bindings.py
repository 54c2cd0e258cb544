"""Raw ctypes bindings of ggml, ggml-backend and gguf (ggml 0.25): C declaration above each.

The libraries are those that llama-cpp-python ships; its Python package is not imported, which
keeps start-up quick. One complete set of libraries per process: `OTTER_GGML_DIR` names another
folder (GPU builds), never a mixture.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char,
    c_char_p,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any

MAX_DIMS = 4
TENSOR_ALIGNMENT = 32

# enum ggml_type
TYPE_F32 = 0
TYPE_F16 = 1
TYPE_Q4_0 = 2
TYPE_Q8_0 = 8
TYPE_Q4_K = 12
TYPE_Q5_K = 13
TYPE_Q6_K = 14
TYPE_I32 = 26
TYPE_I64 = 27
TYPE_BF16 = 30

# enum ggml_status
STATUS_SUCCESS = 0
STATUS_ABORTED = 1

# enum gguf_type
GGUF_UINT32 = 4
GGUF_INT32 = 5
GGUF_FLOAT32 = 6
GGUF_BOOL = 7
GGUF_STRING = 8
GGUF_UINT64 = 10
GGUF_INT64 = 11
GGUF_FLOAT64 = 12

# enum ggml_backend_dev_type
DEVICE_CPU = 0
DEVICE_GPU = 1
DEVICE_IGPU = 2
DEVICE_ACCEL = 3

# enum ggml_backend_buffer_usage
USAGE_WEIGHTS = 1
USAGE_COMPUTE = 2

ROPE_TYPE_NEOX = 2


def library_dir() -> Path:
    """Return the folder of the ggml libraries; raises `ImportError` where there is none."""
    chosen = os.environ.get("OTTER_GGML_DIR")
    if chosen:
        return Path(chosen)
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("llama-cpp-python is not installed: it brings the ggml libraries.")
    return Path(next(iter(spec.submodule_search_locations))) / "lib"


def _open(folder: Path, name: str) -> ctypes.CDLL:
    if sys.platform == "win32":
        path = folder / f"{name}.dll"
    elif sys.platform == "darwin":
        path = folder / f"lib{name}.dylib"
    else:
        path = folder / f"lib{name}.so"
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(f"{path.name} cannot be loaded: {error}") from error


_dir = library_dir()
_base = _open(_dir, "ggml-base")
_ggml = _open(_dir, "ggml")


def _f(lib: ctypes.CDLL, name: str, restype: Any, *argtypes: Any) -> Any:
    function = getattr(lib, name)
    function.restype = restype
    function.argtypes = list(argtypes)
    return function


# Opaque handles are plain addresses (int or None) on the Python side.
context_p = c_void_p
tensor_p = c_void_p
graph_p = c_void_p
backend_p = c_void_p
device_p = c_void_p
buffer_p = c_void_p
buffer_type_p = c_void_p
gallocr_p = c_void_p
gguf_p = c_void_p


# struct ggml_init_params { size_t mem_size; void * mem_buffer; bool no_alloc; };
class InitParams(Structure):
    """How to make a context."""

    _fields_ = [("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool)]


# struct ggml_tensor { enum ggml_type type; struct ggml_backend_buffer * buffer;
#     int64_t ne[4]; size_t nb[4]; enum ggml_op op; int32_t op_params[16]; int32_t flags;
#     struct ggml_tensor * src[10]; struct ggml_tensor * view_src; size_t view_offs;
#     void * data; char name[64]; void * extra; char padding[8]; };
class Tensor(Structure):
    """A tensor: `Tensor.from_address` looks into one."""

    _fields_ = [
        ("type", c_int),
        ("buffer", c_void_p),
        ("ne", c_int64 * MAX_DIMS),
        ("nb", c_size_t * MAX_DIMS),
        ("op", c_int),
        ("op_params", c_int32 * 16),
        ("flags", c_int32),
        ("src", c_void_p * 10),
        ("view_src", c_void_p),
        ("view_offs", c_size_t),
        ("data", c_void_p),
        ("name", c_char * 64),
        ("extra", c_void_p),
        ("padding", c_char * 8),
    ]


# struct gguf_init_params { bool no_alloc; struct ggml_context ** ctx; };
class GgufInitParams(Structure):
    """How to read a file."""

    _fields_ = [("no_alloc", c_bool), ("ctx", POINTER(c_void_p))]


# typedef bool (*ggml_abort_callback)(void * data);
abort_callback_t = CFUNCTYPE(c_bool, c_void_p)
# typedef void (*ggml_log_callback)(enum ggml_log_level level, const char * text, void * user_data);
log_callback_t = CFUNCTYPE(None, c_int, c_char_p, c_void_p)
# typedef void (*ggml_backend_set_n_threads_t)(ggml_backend_t backend, int n_threads);
set_n_threads_t = CFUNCTYPE(None, c_void_p, c_int)
# typedef ggml_backend_buffer_type_t * (*ggml_backend_dev_get_extra_bufts_t)(ggml_backend_dev_t);
get_extra_bufts_t = CFUNCTYPE(POINTER(c_void_p), c_void_p)
# typedef void (*ggml_backend_set_abort_callback_t)(
#     ggml_backend_t backend, ggml_abort_callback abort_callback, void * abort_callback_data);
set_abort_callback_t = CFUNCTYPE(None, c_void_p, abort_callback_t, c_void_p)

# --- ggml.h -----------------------------------------------------------------------------------

# const char * ggml_version(void);
version = _f(_base, "ggml_version", c_char_p)
# void ggml_log_set(ggml_log_callback log_callback, void * user_data);
log_set = _f(_base, "ggml_log_set", None, log_callback_t, c_void_p)
# struct ggml_context * ggml_init(struct ggml_init_params params);
init = _f(_base, "ggml_init", context_p, InitParams)
# void ggml_free(struct ggml_context * ctx);
free = _f(_base, "ggml_free", None, context_p)
# size_t ggml_tensor_overhead(void);
tensor_overhead = _f(_base, "ggml_tensor_overhead", c_size_t)
# size_t ggml_graph_overhead_custom(size_t size, bool grads);
graph_overhead_custom = _f(_base, "ggml_graph_overhead_custom", c_size_t, c_size_t, c_bool)
# int64_t ggml_blck_size(enum ggml_type type);
blck_size = _f(_base, "ggml_blck_size", c_int64, c_int)
# size_t ggml_type_size(enum ggml_type type);
type_size = _f(_base, "ggml_type_size", c_size_t, c_int)
# size_t ggml_row_size(enum ggml_type type, int64_t ne);
row_size = _f(_base, "ggml_row_size", c_size_t, c_int, c_int64)
# const char * ggml_type_name(enum ggml_type type);
type_name = _f(_base, "ggml_type_name", c_char_p, c_int)
# bool ggml_is_quantized(enum ggml_type type);
is_quantized = _f(_base, "ggml_is_quantized", c_bool, c_int)
# size_t ggml_nbytes(const struct ggml_tensor * tensor);
nbytes = _f(_base, "ggml_nbytes", c_size_t, tensor_p)
# struct ggml_tensor * ggml_new_tensor_1d(struct ggml_context *, enum ggml_type, int64_t ne0);
new_tensor_1d = _f(_base, "ggml_new_tensor_1d", tensor_p, context_p, c_int, c_int64)
# struct ggml_tensor * ggml_new_tensor_2d(
#     struct ggml_context *, enum ggml_type, int64_t ne0, int64_t ne1);
new_tensor_2d = _f(_base, "ggml_new_tensor_2d", tensor_p, context_p, c_int, c_int64, c_int64)
# struct ggml_tensor * ggml_new_tensor_3d(
#     struct ggml_context *, enum ggml_type, int64_t ne0, int64_t ne1, int64_t ne2);
new_tensor_3d = _f(
    _base, "ggml_new_tensor_3d", tensor_p, context_p, c_int, c_int64, c_int64, c_int64
)
# struct ggml_tensor * ggml_get_first_tensor(const struct ggml_context * ctx);
get_first_tensor = _f(_base, "ggml_get_first_tensor", tensor_p, context_p)
# struct ggml_tensor * ggml_get_next_tensor(const struct ggml_context *, struct ggml_tensor *);
get_next_tensor = _f(_base, "ggml_get_next_tensor", tensor_p, context_p, tensor_p)
# struct ggml_tensor * ggml_get_tensor(struct ggml_context * ctx, const char * name);
get_tensor = _f(_base, "ggml_get_tensor", tensor_p, context_p, c_char_p)
# const char * ggml_get_name(const struct ggml_tensor * tensor);
get_name = _f(_base, "ggml_get_name", c_char_p, tensor_p)
# struct ggml_tensor * ggml_set_name(struct ggml_tensor * tensor, const char * name);
set_name = _f(_base, "ggml_set_name", tensor_p, tensor_p, c_char_p)
# void ggml_set_input(struct ggml_tensor * tensor);
set_input = _f(_base, "ggml_set_input", None, tensor_p)
# void ggml_set_output(struct ggml_tensor * tensor);
set_output = _f(_base, "ggml_set_output", None, tensor_p)

# struct ggml_tensor * ggml_OP(struct ggml_context *, struct ggml_tensor * a, ... * b);
add = _f(_base, "ggml_add", tensor_p, context_p, tensor_p, tensor_p)
mul = _f(_base, "ggml_mul", tensor_p, context_p, tensor_p, tensor_p)
mul_mat = _f(_base, "ggml_mul_mat", tensor_p, context_p, tensor_p, tensor_p)
get_rows = _f(_base, "ggml_get_rows", tensor_p, context_p, tensor_p, tensor_p)
swiglu_split = _f(_base, "ggml_swiglu_split", tensor_p, context_p, tensor_p, tensor_p)
# struct ggml_tensor * ggml_set_rows(ctx, * a destination, * b source, * c row indices (i64));
set_rows = _f(_base, "ggml_set_rows", tensor_p, context_p, tensor_p, tensor_p, tensor_p)
# struct ggml_tensor * ggml_OP(struct ggml_context *, struct ggml_tensor * a);
tanh = _f(_base, "ggml_tanh", tensor_p, context_p, tensor_p)
gelu = _f(_base, "ggml_gelu", tensor_p, context_p, tensor_p)
gelu_erf = _f(_base, "ggml_gelu_erf", tensor_p, context_p, tensor_p)
cont = _f(_base, "ggml_cont", tensor_p, context_p, tensor_p)
# struct ggml_tensor * ggml_cast(struct ggml_context *, struct ggml_tensor *, enum ggml_type);
cast = _f(_base, "ggml_cast", tensor_p, context_p, tensor_p, c_int)
# struct ggml_tensor * ggml_norm(struct ggml_context *, struct ggml_tensor * a, float eps);
norm = _f(_base, "ggml_norm", tensor_p, context_p, tensor_p, c_float)
# struct ggml_tensor * ggml_scale(struct ggml_context *, struct ggml_tensor * a, float s);
scale = _f(_base, "ggml_scale", tensor_p, context_p, tensor_p, c_float)
# struct ggml_tensor * ggml_rms_norm(struct ggml_context *, struct ggml_tensor * a, float eps);
rms_norm = _f(_base, "ggml_rms_norm", tensor_p, context_p, tensor_p, c_float)
# struct ggml_tensor * ggml_clamp(ctx, struct ggml_tensor * a, float min, float max);
clamp = _f(_base, "ggml_clamp", tensor_p, context_p, tensor_p, c_float, c_float)
# struct ggml_tensor * ggml_reshape_2d(ctx, * a, int64_t ne0, int64_t ne1);
reshape_2d = _f(_base, "ggml_reshape_2d", tensor_p, context_p, tensor_p, c_int64, c_int64)
# struct ggml_tensor * ggml_reshape_3d(ctx, * a, int64_t ne0, int64_t ne1, int64_t ne2);
reshape_3d = _f(_base, "ggml_reshape_3d", tensor_p, context_p, tensor_p, c_int64, c_int64, c_int64)
# struct ggml_tensor * ggml_view_2d(ctx, * a, int64_t ne0, int64_t ne1, size_t nb1, size_t offset);
view_2d = _f(
    _base, "ggml_view_2d", tensor_p, context_p, tensor_p, c_int64, c_int64, c_size_t, c_size_t
)
# struct ggml_tensor * ggml_view_3d(ctx, * a, int64_t ne0, int64_t ne1, int64_t ne2,
#     size_t nb1, size_t nb2, size_t offset);
view_3d = _f(
    _base, "ggml_view_3d", tensor_p, context_p, tensor_p,
    c_int64, c_int64, c_int64, c_size_t, c_size_t, c_size_t,
)  # fmt: skip
# struct ggml_tensor * ggml_permute(ctx, * a, int axis0, int axis1, int axis2, int axis3);
permute = _f(_base, "ggml_permute", tensor_p, context_p, tensor_p, c_int, c_int, c_int, c_int)
# struct ggml_tensor * ggml_soft_max_ext(ctx, * a, * mask, float scale, float max_bias);
soft_max_ext = _f(
    _base, "ggml_soft_max_ext", tensor_p, context_p, tensor_p, tensor_p, c_float, c_float
)
# struct ggml_tensor * ggml_flash_attn_ext(ctx, * q, * k, * v, * mask,
#     float scale, float max_bias, float logit_softcap);
flash_attn_ext = _f(
    _base, "ggml_flash_attn_ext", tensor_p, context_p, tensor_p, tensor_p, tensor_p, tensor_p,
    c_float, c_float, c_float,
)  # fmt: skip
# void ggml_flash_attn_ext_set_prec(struct ggml_tensor * a, enum ggml_prec prec);
flash_attn_ext_set_prec = _f(_base, "ggml_flash_attn_ext_set_prec", None, tensor_p, c_int)
# struct ggml_tensor * ggml_rope_ext(ctx, * a, * b, * c, int n_dims, int mode, int n_ctx_orig,
#     float freq_base, float freq_scale, float ext_factor, float attn_factor,
#     float beta_fast, float beta_slow);
rope_ext = _f(
    _base, "ggml_rope_ext", tensor_p, context_p, tensor_p, tensor_p, tensor_p,
    c_int, c_int, c_int, c_float, c_float, c_float, c_float, c_float, c_float,
)  # fmt: skip

# struct ggml_cgraph * ggml_new_graph_custom(struct ggml_context *, size_t size, bool grads);
new_graph_custom = _f(_base, "ggml_new_graph_custom", graph_p, context_p, c_size_t, c_bool)
# void ggml_build_forward_expand(struct ggml_cgraph * cgraph, struct ggml_tensor * tensor);
build_forward_expand = _f(_base, "ggml_build_forward_expand", None, graph_p, tensor_p)
# int ggml_graph_n_nodes(struct ggml_cgraph * cgraph);
graph_n_nodes = _f(_base, "ggml_graph_n_nodes", c_int, graph_p)
# struct ggml_tensor * ggml_graph_node(struct ggml_cgraph * cgraph, int i);
graph_node = _f(_base, "ggml_graph_node", tensor_p, graph_p, c_int)

# size_t ggml_quantize_chunk(enum ggml_type type, const float * src, void * dst,
#     int64_t start, int64_t nrows, int64_t n_per_row, const float * imatrix);
quantize_chunk = _f(
    _base, "ggml_quantize_chunk", c_size_t,
    c_int, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p,
)  # fmt: skip

# --- ggml-alloc.h -----------------------------------------------------------------------------

# ggml_gallocr_t ggml_gallocr_new(ggml_backend_buffer_type_t buft);
gallocr_new = _f(_base, "ggml_gallocr_new", gallocr_p, buffer_type_p)
# void ggml_gallocr_free(ggml_gallocr_t galloc);
gallocr_free = _f(_base, "ggml_gallocr_free", None, gallocr_p)
# bool ggml_gallocr_alloc_graph(ggml_gallocr_t galloc, struct ggml_cgraph * graph);
gallocr_alloc_graph = _f(_base, "ggml_gallocr_alloc_graph", c_bool, gallocr_p, graph_p)
# size_t ggml_gallocr_get_buffer_size(ggml_gallocr_t galloc, int buffer_id);
gallocr_get_buffer_size = _f(_base, "ggml_gallocr_get_buffer_size", c_size_t, gallocr_p, c_int)
# struct ggml_backend_buffer * ggml_backend_alloc_ctx_tensors_from_buft(
#     struct ggml_context * ctx, ggml_backend_buffer_type_t buft);
backend_alloc_ctx_tensors_from_buft = _f(
    _base, "ggml_backend_alloc_ctx_tensors_from_buft", buffer_p, context_p, buffer_type_p
)

# --- ggml-backend.h ---------------------------------------------------------------------------

# const char * ggml_backend_buft_name(ggml_backend_buffer_type_t buft);
backend_buft_name = _f(_base, "ggml_backend_buft_name", c_char_p, buffer_type_p)
# ggml_backend_buffer_t ggml_backend_buft_alloc_buffer(ggml_backend_buffer_type_t, size_t size);
backend_buft_alloc_buffer = _f(
    _base, "ggml_backend_buft_alloc_buffer", buffer_p, buffer_type_p, c_size_t
)
# bool ggml_backend_buft_is_host(ggml_backend_buffer_type_t buft);
backend_buft_is_host = _f(_base, "ggml_backend_buft_is_host", c_bool, buffer_type_p)
# void ggml_backend_buffer_free(ggml_backend_buffer_t buffer);
backend_buffer_free = _f(_base, "ggml_backend_buffer_free", None, buffer_p)
# void ggml_backend_buffer_set_usage(ggml_backend_buffer_t, enum ggml_backend_buffer_usage);
backend_buffer_set_usage = _f(_base, "ggml_backend_buffer_set_usage", None, buffer_p, c_int)
# void ggml_backend_free(ggml_backend_t backend);
backend_free = _f(_base, "ggml_backend_free", None, backend_p)
# ggml_backend_buffer_type_t ggml_backend_get_default_buffer_type(ggml_backend_t backend);
backend_get_default_buffer_type = _f(
    _base, "ggml_backend_get_default_buffer_type", buffer_type_p, backend_p
)
# void ggml_backend_tensor_set(struct ggml_tensor *, const void * data, size_t offset, size_t size);
backend_tensor_set = _f(
    _base, "ggml_backend_tensor_set", None, tensor_p, c_void_p, c_size_t, c_size_t
)
# void ggml_backend_tensor_get(const struct ggml_tensor *, void * data, size_t offset, size_t size);
backend_tensor_get = _f(
    _base, "ggml_backend_tensor_get", None, tensor_p, c_void_p, c_size_t, c_size_t
)
# void ggml_backend_tensor_memset(struct ggml_tensor *, uint8_t value, size_t offset, size_t size);
backend_tensor_memset = _f(
    _base, "ggml_backend_tensor_memset", None, tensor_p, c_uint8, c_size_t, c_size_t
)
# enum ggml_status ggml_backend_tensor_alloc(
#     ggml_backend_buffer_t buffer, struct ggml_tensor * tensor, void * addr);
backend_tensor_alloc = _f(_base, "ggml_backend_tensor_alloc", c_int, buffer_p, tensor_p, c_void_p)
# enum ggml_status ggml_backend_graph_compute(ggml_backend_t backend, struct ggml_cgraph * cgraph);
backend_graph_compute = _f(_base, "ggml_backend_graph_compute", c_int, backend_p, graph_p)
# const char * ggml_backend_dev_name(ggml_backend_dev_t device);
backend_dev_name = _f(_base, "ggml_backend_dev_name", c_char_p, device_p)
# const char * ggml_backend_dev_description(ggml_backend_dev_t device);
backend_dev_description = _f(_base, "ggml_backend_dev_description", c_char_p, device_p)
# void ggml_backend_dev_memory(ggml_backend_dev_t device, size_t * free, size_t * total);
backend_dev_memory = _f(
    _base, "ggml_backend_dev_memory", None, device_p, POINTER(c_size_t), POINTER(c_size_t)
)
# enum ggml_backend_dev_type ggml_backend_dev_type(ggml_backend_dev_t device);
backend_dev_type = _f(_base, "ggml_backend_dev_type", c_int, device_p)
# ggml_backend_reg_t ggml_backend_dev_backend_reg(ggml_backend_dev_t device);
backend_dev_backend_reg = _f(_base, "ggml_backend_dev_backend_reg", c_void_p, device_p)
# ggml_backend_t ggml_backend_dev_init(ggml_backend_dev_t device, const char * params);
backend_dev_init = _f(_base, "ggml_backend_dev_init", backend_p, device_p, c_char_p)
# bool ggml_backend_dev_supports_op(ggml_backend_dev_t device, const struct ggml_tensor * op);
backend_dev_supports_op = _f(_base, "ggml_backend_dev_supports_op", c_bool, device_p, tensor_p)
# void * ggml_backend_reg_get_proc_address(ggml_backend_reg_t reg, const char * name);
backend_reg_get_proc_address = _f(
    _base, "ggml_backend_reg_get_proc_address", c_void_p, c_void_p, c_char_p
)
# ggml_backend_buffer_t ggml_backend_cpu_buffer_from_ptr(void * ptr, size_t size);
backend_cpu_buffer_from_ptr = _f(
    _base, "ggml_backend_cpu_buffer_from_ptr", buffer_p, c_void_p, c_size_t
)
# size_t ggml_backend_dev_count(void);
backend_dev_count = _f(_ggml, "ggml_backend_dev_count", c_size_t)
# ggml_backend_dev_t ggml_backend_dev_get(size_t index);
backend_dev_get = _f(_ggml, "ggml_backend_dev_get", device_p, c_size_t)
# void ggml_backend_load_all_from_path(const char * dir_path);
backend_load_all_from_path = _f(_ggml, "ggml_backend_load_all_from_path", None, c_char_p)

# --- gguf.h -----------------------------------------------------------------------------------

# struct gguf_context * gguf_init_empty(void);
gguf_init_empty = _f(_base, "gguf_init_empty", gguf_p)
# struct gguf_context * gguf_init_from_file(const char * fname, struct gguf_init_params params);
gguf_init_from_file = _f(_base, "gguf_init_from_file", gguf_p, c_char_p, GgufInitParams)
# void gguf_free(struct gguf_context * ctx);
gguf_free = _f(_base, "gguf_free", None, gguf_p)
# size_t gguf_get_data_offset(const struct gguf_context * ctx);
gguf_get_data_offset = _f(_base, "gguf_get_data_offset", c_size_t, gguf_p)
# int64_t gguf_get_n_kv(const struct gguf_context * ctx);
gguf_get_n_kv = _f(_base, "gguf_get_n_kv", c_int64, gguf_p)
# const char * gguf_get_key(const struct gguf_context * ctx, int64_t key_id);
gguf_get_key = _f(_base, "gguf_get_key", c_char_p, gguf_p, c_int64)
# enum gguf_type gguf_get_kv_type(const struct gguf_context * ctx, int64_t key_id);
gguf_get_kv_type = _f(_base, "gguf_get_kv_type", c_int, gguf_p, c_int64)
# T gguf_get_val_T(const struct gguf_context * ctx, int64_t key_id);  aborts on another type
gguf_get_val_u32 = _f(_base, "gguf_get_val_u32", c_uint32, gguf_p, c_int64)
gguf_get_val_i32 = _f(_base, "gguf_get_val_i32", c_int32, gguf_p, c_int64)
gguf_get_val_u64 = _f(_base, "gguf_get_val_u64", c_uint64, gguf_p, c_int64)
gguf_get_val_i64 = _f(_base, "gguf_get_val_i64", c_int64, gguf_p, c_int64)
gguf_get_val_f32 = _f(_base, "gguf_get_val_f32", c_float, gguf_p, c_int64)
gguf_get_val_f64 = _f(_base, "gguf_get_val_f64", ctypes.c_double, gguf_p, c_int64)
gguf_get_val_bool = _f(_base, "gguf_get_val_bool", c_bool, gguf_p, c_int64)
gguf_get_val_str = _f(_base, "gguf_get_val_str", c_char_p, gguf_p, c_int64)
# int64_t gguf_get_n_tensors(const struct gguf_context * ctx);
gguf_get_n_tensors = _f(_base, "gguf_get_n_tensors", c_int64, gguf_p)
# int64_t gguf_find_tensor(const struct gguf_context * ctx, const char * name);
gguf_find_tensor = _f(_base, "gguf_find_tensor", c_int64, gguf_p, c_char_p)
# size_t gguf_get_tensor_offset(const struct gguf_context * ctx, int64_t tensor_id);
gguf_get_tensor_offset = _f(_base, "gguf_get_tensor_offset", c_size_t, gguf_p, c_int64)
# const char * gguf_get_tensor_name(const struct gguf_context * ctx, int64_t tensor_id);
gguf_get_tensor_name = _f(_base, "gguf_get_tensor_name", c_char_p, gguf_p, c_int64)
# enum ggml_type gguf_get_tensor_type(const struct gguf_context * ctx, int64_t tensor_id);
gguf_get_tensor_type = _f(_base, "gguf_get_tensor_type", c_int, gguf_p, c_int64)
# size_t gguf_get_tensor_size(const struct gguf_context * ctx, int64_t tensor_id);
gguf_get_tensor_size = _f(_base, "gguf_get_tensor_size", c_size_t, gguf_p, c_int64)
# void gguf_set_val_T(struct gguf_context * ctx, const char * key, T val);
gguf_set_val_u32 = _f(_base, "gguf_set_val_u32", None, gguf_p, c_char_p, c_uint32)
gguf_set_val_i64 = _f(_base, "gguf_set_val_i64", None, gguf_p, c_char_p, c_int64)
gguf_set_val_f32 = _f(_base, "gguf_set_val_f32", None, gguf_p, c_char_p, c_float)
gguf_set_val_bool = _f(_base, "gguf_set_val_bool", None, gguf_p, c_char_p, c_bool)
gguf_set_val_str = _f(_base, "gguf_set_val_str", None, gguf_p, c_char_p, c_char_p)
# void gguf_add_tensor(struct gguf_context * ctx, const struct ggml_tensor * tensor);
gguf_add_tensor = _f(_base, "gguf_add_tensor", None, gguf_p, tensor_p)
# size_t gguf_get_meta_size(const struct gguf_context * ctx);
gguf_get_meta_size = _f(_base, "gguf_get_meta_size", c_size_t, gguf_p)
# void gguf_get_meta_data(const struct gguf_context * ctx, void * data);
gguf_get_meta_data = _f(_base, "gguf_get_meta_data", None, gguf_p, c_void_p)
