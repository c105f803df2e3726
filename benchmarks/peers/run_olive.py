"""Quantize with Olive's OnnxStaticQuantization: run_olive.py PLAIN.onnx CROPS.npy WRITTEN.onnx."""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from olive.data.config import DataComponentConfig, DataConfig
from olive.data.registry import Registry
from olive.model import ONNXModelHandler
from olive.passes.olive_pass import create_pass_from_dict
from olive.passes.onnx.quantization import OnnxStaticQuantization

plain, crops, written = sys.argv[1:]
input_name = onnx.load(plain).graph.input[0].name
images = np.load(crops)


class Crops(torch.utils.data.Dataset):
    """Crops of a .npy file as Olive wants them: (inputs by name, label)."""

    def __len__(self) -> int:
        """Give how many."""
        return len(images)

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], int]:
        """Give one, without the batch axis."""
        return {input_name: torch.from_numpy(images[index])}, 0


@Registry.register_dataset()
def crops_dataset(data_dir: str | None = None) -> Crops:
    """Give the dataset by its registered name."""
    return Crops()


data = DataConfig(
    name="crops",
    load_dataset_config=DataComponentConfig(type="crops_dataset"),
    dataloader_config=DataComponentConfig(params={"batch_size": 1}),
)
static = create_pass_from_dict(OnnxStaticQuantization, {"data_config": data}, disable_search=True)
with tempfile.TemporaryDirectory() as folder:
    made = static.run(ONNXModelHandler(plain), str(Path(folder, "model")))
    shutil.copy(made.model_path, written)
