"""IR passes on ``onnx_ir.Model`` and the pipeline that runs and checks them."""
