"""A model as files for other runtimes: both towers as ONNX, with what prepares their inputs."""

from modeling_prompt_clip.export.onnx_folder import OnnxExport, export_onnx

__all__ = ["OnnxExport", "export_onnx"]
