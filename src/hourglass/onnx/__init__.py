"""Export to ONNX: every use as one torch module (`uses`), written as a graph, run and compared before it stays (`export`)."""

from hourglass.onnx.export import export_onnx
from hourglass.onnx.uses import PARTS, USES, Use, use_of

__all__ = ["PARTS", "USES", "Use", "export_onnx", "use_of"]
