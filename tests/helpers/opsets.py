"""What there is in the installed OpenVINO's opsets."""

from openvino.utils.node_factory import NodeFactory


def is_operation(kind: str) -> bool:
    """Whether some opset has it; one that there is complains of missing inputs."""
    for opset in range(16, 0, -1):
        try:
            NodeFactory(f"opset{opset}").create(kind, [], {})
        except Exception as error:
            if "op_node != nullptr" in str(error):
                continue
        return True
    return False
