"""The list of peers, in the order of the table."""

from peer import Peer
from peer_ncnn import NcnnFloat
from peer_onnxruntime import OnnxRuntimeFloat, OnnxRuntimeInt8
from peer_openvino import OpenVinoFloat, OpenVinoInt8
from peer_pith import Pith, PithSmallest

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Pith(), PithSmallest(), OnnxRuntimeFloat(), OnnxRuntimeInt8(), OpenVinoFloat(), OpenVinoInt8(), NcnnFloat(),
    )
}  # fmt: skip
