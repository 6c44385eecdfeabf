"""The default functions of Hugging Face's image: a pipeline for the task."""

import json
import os

from clary_runtime import plain
from clary_runtime.handlers import CSV, JSON, Unsupported

TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "ForImageClassification": "image-classification",
    "MTModel": "text2text-generation",
    "EncoderDecoderModel": "text2text-generation",
}


def task_of(model_dir):
    """The task that the model's own settings name."""
    path = os.path.join(model_dir, "config.json")
    if os.path.exists(path):
        with open(path) as f:
            names = json.load(f).get("architectures") or []
        for name in names:
            for end, task in TASKS.items():
                if name.endswith(end):
                    return task
    raise ValueError("the task of the model is not known: set HF_TASK, for example to text-classification")


class Defaults:
    @staticmethod
    def model_fn(model_dir):
        from transformers import pipeline

        model = os.environ.get("HF_MODEL_ID") or model_dir
        return pipeline(os.environ.get("HF_TASK") or task_of(model_dir), model=model)

    @staticmethod
    def input_fn(content, content_type):
        if content_type == JSON:
            return json.loads(content)
        if content_type == CSV:
            import csv

            rows = list(csv.DictReader(content.splitlines()))
            if rows and "inputs" in rows[0]:
                return {"inputs": [r["inputs"] for r in rows]}
            return {"inputs": rows}
        if content_type in plain.READERS:
            return {"inputs": plain.READERS[content_type](content)}
        raise Unsupported(content_type)

    @staticmethod
    def predict_fn(data, model):
        inputs, parameters = data, {}
        if isinstance(data, dict):
            inputs, parameters = data.pop("inputs", data), data.pop("parameters", None) or {}
        if isinstance(inputs, dict) and inputs:
            return model(**inputs, **parameters)
        return model(inputs, **parameters)

    @staticmethod
    def output_fn(prediction, accept):
        return plain.known({JSON: plain.to_json, CSV: plain.to_csv}, accept)(prediction), accept
