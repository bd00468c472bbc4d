# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The averaged weights as a model: python -m tools.training.export CHECKPOINT MODEL.onnx.

The graph takes the camera's pixels as they are, uint8 BGR (B, H, W, 3), normalises inside and
gives logits (B, 19, H/4, W/4). Everything linear that follows each other is folded beforehand:
batch norm and the decoder's two projections per scale become one 1x1 convolution per scale.
"""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from segformer_ros.cli.arguments import whole
from segformer_ros.destination import DestinationError, output_file
from segformer_ros.errors import EXIT_REFUSED
from tools.training.checkpoint import CheckpointError, load_checkpoint
from tools.training.evaluate import INPUT_SIZE
from tools.training.model import MEAN, STD, Decoder, SegFormer, create_model
from tools.training.recipe import RecipeError

OPSET = 17
METADATA = {
    'segformer_ros.contract': 'uint8_bgr_nhwc',
    'segformer_ros.classes': 'cityscapes',
    'segformer_ros.fit': 'letterbox',
}


class FoldedDecoder(nn.Module):
    """The trained decoder with its linear layers multiplied out; same numbers, fewer steps."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        norm = decoder.norm
        assert norm.running_var is not None and norm.running_mean is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)  # (width,)
        bias = norm.bias - norm.running_mean * scale
        self.projections = nn.ModuleList()
        for project, fuse in zip(decoder.projections, decoder.fusions, strict=True):
            weight = scale[:, None] * fuse.weight[:, :, 0, 0]  # (width, width)
            # Bilinear upsampling keeps constants, so every scale's bias may go to one of them.
            bias = bias + weight @ project.bias
            folded = nn.Conv2d(project.in_channels, len(scale), 1, bias=not self.projections)
            folded.weight = nn.Parameter((weight @ project.weight[:, :, 0, 0])[:, :, None, None])
            self.projections.append(folded)
        self.projections[0].bias = nn.Parameter(bias)
        self.classifier = decoder.classifier

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Four maps at 1/4..1/32 -> logits (B, classes, H/4, W/4)."""
        total = self.projections[0](maps[0])
        for i, (project, x) in enumerate(zip(self.projections[1:], maps[1:], strict=True), 1):
            total = total + nn.functional.interpolate(
                project(x), scale_factor=float(2**i), mode='bilinear', align_corners=False
            )
        return self.classifier(total.relu())


class DeployedSegFormer(nn.Module):
    """(B, H, W, 3) uint8 BGR -> logits (B, classes, H/4, W/4) float32."""

    def __init__(self, model: SegFormer) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.decoder = FoldedDecoder(model.decoder)
        # The first convolution learns RGB; turning its weights around takes BGR at no cost.
        first = self.encoder.embeddings[0].projection
        first.weight = nn.Parameter(first.weight.flip(1))
        self.register_buffer('mean', torch.tensor(MEAN[::-1]))
        self.register_buffer('scale', 1.0 / torch.tensor(STD[::-1]))

    def forward(self, image: Tensor) -> Tensor:
        x = (image.float() - self.mean) * self.scale
        return self.decoder(self.encoder(x.permute(0, 3, 1, 2)))


def load_average(checkpoint: Path) -> SegFormer:
    """The averaged weights of a run, in evaluation mode; raises as `load_checkpoint`."""
    state = load_checkpoint(checkpoint)
    model = create_model(state.recipe.size)
    model.load_state_dict(state.ema['model'])
    return model.eval()


def export(
    model: SegFormer,
    path: Path,
    input_size: tuple[int, int] = INPUT_SIZE,
    dynamic: bool = True,
    terms: str = '',
) -> None:
    """Writes the deployed graph.

    Args:
        model: trained weights; it is changed, do not use it afterwards.
        path: the .onnx to write.
        input_size: (height, width) that the metadata recommends; fixed where not dynamic.
        dynamic: batch, height and width are free (height and width in multiples of 32).
        terms: the licence that the metadata names, '' for none.
    """
    deployed = DeployedSegFormer(model).eval()
    example = torch.zeros((1, *input_size, 3), dtype=torch.uint8)
    axes = {0: 'batch', 1: 'height', 2: 'width'}
    buffer = io.BytesIO()
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)  # torch's own, of this exporter
        torch.onnx.export(
            deployed,
            (example,),
            buffer,
            input_names=['image'],
            output_names=['logits'],
            opset_version=OPSET,
            dynamic_axes={
                'image': axes,
                'logits': {0: 'batch', 2: 'height/4', 3: 'width/4'},
            }
            if dynamic
            else None,
            dynamo=False,
        )
    graph = onnx.load_from_string(buffer.getvalue())
    metadata = {**METADATA, 'segformer_ros.input_size': f'{input_size[0]}x{input_size[1]}'}
    if terms:
        metadata['license'] = terms
    onnx.helper.set_model_props(graph, metadata)
    onnx.checker.check_model(graph)
    path.write_bytes(graph.SerializeToString())


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog='python -m tools.training.export', description=__doc__)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('model', type=Path)
    parser.add_argument('--height', type=whole(32), default=INPUT_SIZE[0])
    parser.add_argument('--width', type=whole(32), default=INPUT_SIZE[1])
    parser.add_argument('--static', action='store_true', help='fix the batch at 1 and the size')
    parser.add_argument(
        '--license',
        default='',
        metavar='NAME',
        help="what the weights may be used for, as their frames' own licences allow",
    )
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    size = (options.height, options.width)
    try:
        model = output_file(options.model, ('.onnx',))
        export(load_average(options.checkpoint), model, size, not options.static, options.license)
    except (CheckpointError, DestinationError, RecipeError) as error:
        print(f'export: {error}', file=sys.stderr)
        return EXIT_REFUSED
    print(f'{model}: {model.stat().st_size / 1e6:.1f} MB; `segformer inspect {model}` tells of it')
    return 0


if __name__ == '__main__':
    sys.exit(main())
