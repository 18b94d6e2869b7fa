"""Export for other runtimes: both towers as ONNX, and their processor's files."""

from modeling_prompt_clip.export.onnx_folder import OnnxExport, export_onnx

__all__ = ["OnnxExport", "export_onnx"]
