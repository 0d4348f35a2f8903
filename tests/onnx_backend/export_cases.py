"""Writes the cases of the ONNX backend test suite to a directory, for `compiler/tests/onnx_backend.rs`.

    pip install onnx
    python tests/onnx_backend/export_cases.py target/onnx_backend
    ONNX_BACKEND_TESTS=$PWD/target/onnx_backend cargo test -p fhec-compiler --test onnx_backend

Each case becomes `<kind>/<name>/model.onnx` with `test_data_set_<i>/{input,output}_<j>.pb`. The `node` cases are
made by running the package's own definitions; the other kinds are files of the package and are copied.
"""

import pathlib
import shutil
import sys

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test import loader

COPIED_KINDS = ("simple", "pytorch-converted", "pytorch-operator")


def tensor_bytes(value, name):
    """The serialized TensorProto of an array, None if the value is no tensor."""
    if isinstance(value, onnx.TensorProto):
        return value.SerializeToString()
    if isinstance(value, (np.ndarray, np.generic)) and np.asarray(value).dtype != object:
        return numpy_helper.from_array(np.asarray(value), name).SerializeToString()
    return None


def export_node_cases(target):
    """Writes the cases whose inputs and outputs are all tensors; returns how many."""
    np.random.seed(0)
    count = 0
    for case in loader.load_model_tests(kind="node"):
        for index, (inputs, outputs) in enumerate(case.data_sets):
            graph = case.model.graph
            files = {}
            for label, values, infos in (("input", inputs, graph.input), ("output", outputs, graph.output)):
                for position, value in enumerate(values):
                    name = infos[position].name if position < len(infos) else ""
                    files[f"{label}_{position}.pb"] = tensor_bytes(value, name)
            if any(data is None for data in files.values()):
                break
            folder = target / "node" / case.name / f"test_data_set_{index}"
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in files.items():
                (folder / name).write_bytes(data)
        else:
            (target / "node" / case.name / "model.onnx").write_bytes(case.model.SerializeToString())
            count += 1
    return count


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    target = pathlib.Path(sys.argv[1])
    for kind in COPIED_KINDS:
        shutil.copytree(pathlib.Path(loader.DATA_DIR) / kind, target / kind, dirs_exist_ok=True)
    print(f"onnx {onnx.__version__}: {export_node_cases(target)} node cases in {target}")


if __name__ == "__main__":
    main()
