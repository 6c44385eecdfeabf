"""The default functions of PyTorch's image."""

import os

import torch

from clary_runtime import plain
from clary_runtime.handlers import UTF8_TYPES, Unsupported

DEFAULT_MODEL = "model.pth"


def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Defaults:
    @staticmethod
    def model_fn(model_dir):
        path = os.path.join(model_dir, DEFAULT_MODEL)
        if not os.path.exists(path):
            raise FileNotFoundError("there is no %s, and the script defines no model_fn(model_dir)" % path)
        return torch.jit.load(path, map_location=device())

    @staticmethod
    def input_fn(content, content_type):
        array = plain.known(plain.READERS, content_type)(content)
        tensor = torch.FloatTensor(array) if content_type in UTF8_TYPES else torch.from_numpy(array)
        return tensor.to(device())

    @staticmethod
    def predict_fn(data, model):
        with torch.no_grad():
            model = model.to(device())
            model.eval()
            return model(data.to(device()))

    @staticmethod
    def output_fn(prediction, accept):
        if isinstance(prediction, torch.Tensor):
            prediction = prediction.detach().cpu().numpy().tolist()
        for kind in (a.split(";")[0].strip() for a in accept.split(",")):
            if kind in plain.WRITERS:
                return plain.WRITERS[kind](prediction), kind
        raise Unsupported(accept)
