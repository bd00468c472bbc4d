# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The job: everything that the numbers of a run depend on."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.camera import Camera, CameraPose
from segformer_ros.classes import load_class_map
from segformer_ros.engines import Engine, EngineOptions, Wanted, create_engine, model_for
from segformer_ros.engines.precision import require_quantized
from segformer_ros.evaluation.frame_views import WINDOW
from segformer_ros.evaluation.label_survey import survey
from segformer_ros.evaluation.shards import EvaluationError, Predictions
from segformer_ros.measurement import versions
from segformer_ros.metrics.metric import ScoredClasses, truth_notes, truth_table
from segformer_ros.metrics.scorer import Scorer
from segformer_ros.metrics.shape_metrics import CITYSCAPES_SIZES
from segformer_ros.model import ModelSpec
from segformer_ros.model.model_files import ONNX_SUFFIX, model_files, model_hash
from segformer_ros.model.sidecar import quantized_path
from segformer_ros.recordings import Source, SourceError, SourceOptions, local_path, open_source
from segformer_ros.recordings.cityscapes_source import is_cityscapes
from segformer_ros.recordings.source import UnreadableSource
from segformer_ros.segmenter.segmented_frame import FrameFinisher, estimator_factory

ANY_SOURCE = SourceOptions()
SHARD_FRAMES = 64
"""Frames of a shard by default: an interruption loses at most that many for each worker, besides
those that wait to be scored."""


@dataclass(frozen=True)
class ModelChoice:
    """A model and the engine that runs it.

    model: path of the file; '' takes the bundled one. classes: class map; '' takes the model's.
    """

    model: str = ''
    engine: str = 'auto'
    options: EngineOptions = EngineOptions(threads=1)
    classes: str = ''

    def spec(self) -> ModelSpec:
        """The model's specification, recognised once; raises ModelError or ClassMapError."""
        return self._spec

    @cached_property
    def _spec(self) -> ModelSpec:
        return model_for(self.engine, self.model, self.classes)

    def create(self) -> Engine:
        """The engine, not yet active."""
        return create_engine(self.spec(), self.engine, self.options)

    def files(self) -> List[Path]:
        """Files that determine what the engine computes: the model's, and its INT8 version's."""
        if self.engine == 'fake':
            return []
        spec = self.spec()
        files = [*model_files(spec.path), quantized_path(spec.path), spec.engine_file]
        return [file for file in files if file is not None and file.is_file()]


@dataclass(frozen=True)
class EvaluationJob:
    """What is evaluated and how; plain data, so that it can be sent to workers.

    inputs: recordings, each scored in the order of its frames.
    sources: how the recordings are read.
    reference: the model whose masks are the truth (agreement), None where the recordings have it.
    merged: groups of class names scored as one.
    drivable: drivable group or class names joined by '+'; '' takes the class map's first group.
    pose: of the camera over the ground; None uses that of the recordings.
    hfov: horizontal field of view in degrees of a camera that the recordings do not calibrate.
    upsampling: as Wanted.upsampling.
    worst: how many of the worst frames the report shows.
    predictions: folder for the masks as label images, '' for none. A run that starts from scratch
        removes those of former runs if the folder is inside its own.
    shard_frames: frames that are scored between two saves, a multiple of WINDOW.
    """

    inputs: Tuple[str, ...]
    sources: SourceOptions = ANY_SOURCE
    model: ModelChoice = ModelChoice()
    reference: Optional[ModelChoice] = None
    merged: Tuple[Tuple[str, ...], ...] = ()
    drivable: str = ''
    pose: Optional[CameraPose] = None
    hfov: Optional[float] = None
    upsampling: str = 'exact'
    worst: int = 6
    predictions: str = ''
    shard_frames: int = SHARD_FRAMES

    def __post_init__(self) -> None:
        if not self.inputs:
            raise EvaluationError('nothing to evaluate; name at least one recording')
        if self.worst < 0:
            raise EvaluationError(f'{self.worst} worst frames; give 0 or more')
        if self.shard_frames < 1 or self.shard_frames % WINDOW:
            raise EvaluationError(
                f'shards of {self.shard_frames} frames; give a multiple of {WINDOW}'
            )

    def fresh(self) -> EvaluationJob:
        """The same job without cached models, as their files may have changed."""
        reference = replace(self.reference) if self.reference else None
        return replace(self, model=replace(self.model), reference=reference)

    def open_sources(self) -> List[Source]:
        """Open all recordings; raises SourceError or EvaluationError.

        Of several, those that cannot be scored are left out, with a note. A missing one is an
        error nevertheless, since its name is probably mistyped.
        """
        sources = [self._open(path) for path in self.inputs]
        if not any(len(source) for source in sources):
            raise EvaluationError(f'no input can be scored; the first is {sources[0].notes[0]}')
        self.truth_tables(sources)  # raises now, not after hours of work
        return sources

    def _open(self, path: str) -> Source:
        place = local_path(path)
        try:
            return self._scorable(path)
        except (SourceError, EvaluationError) as error:
            if len(self.inputs) == 1 or not place.exists():
                raise
            return UnreadableSource(place, str(error))

    def _scorable(self, path: str) -> Source:
        source = open_source(path, self.sources)
        source.note_unused(self.hfov)
        if not len(source):
            raise EvaluationError(f'{path} holds no frame; there is nothing to score')
        if not source.labelled and not self.reference:
            why = f' ({"; ".join(source.notes)})' if source.notes else ''
            raise EvaluationError(
                f'{path} has no truth{why}; give --labels FOLDER, --label-topic TOPIC or '
                '--reference MODEL'
            )
        return source

    def input_names(self, sources: Sequence[Source]) -> List[str]:
        """A name for each recording: its own, made longer where several have the same."""
        names = [source.name for source in sources]
        return [
            name if names.count(name) == 1 else f'{place:03d}_{name}'
            for place, name in enumerate(names)
        ]

    def scorer(self) -> Scorer:
        """A scorer of the job's metrics; raises ClassMapError or MetricError."""
        class_map = self.model.spec().class_map
        # A class map without drivable groups (indoor scenes) has no drivable area to score.
        drivable = self.drivable or next(iter(class_map.drivable), '')
        cityscapes = all(is_cityscapes(local_path(path)) for path in self.inputs)
        sizes = CITYSCAPES_SIZES if cityscapes else None
        return Scorer(ScoredClasses(class_map, self.merged), drivable, sizes)

    def finisher(self, camera: Camera) -> FrameFinisher:
        """Finisher that adds the drivable area to the frames of a camera."""
        spec = self.model.spec()
        estimator = estimator_factory(self.drivable, spec.class_map)()
        return FrameFinisher(spec, self.model.options.inference, camera, estimator)

    def camera(self, source: Source) -> Camera:
        """The camera of a recording, as far as known; raises CameraError."""
        return Camera(source.calibrated(self.hfov), self.pose or source.pose)

    def truth_tables(self, sources: Sequence[Source]) -> List[Optional[np.ndarray]]:
        """For each recording, the table from its truth's values to train ids: see truth_table.

        Raises MetricError where the classes do not match.
        """
        if self.reference is None and not any(source.class_map for source in sources):
            return [None] * len(sources)
        own = self.model.spec().class_map
        if self.reference is not None:
            truth = self.reference.spec().class_map
            return [truth_table(truth, own, 'the reference')] * len(sources)
        return [
            truth_table(
                load_class_map(source.class_map),
                own,
                f'the truth of {source.name}',
                source.class_map_given,
            )
            if source.class_map
            else None
            for source in sources
        ]

    def look_at_labels(self, sources: Sequence[Source]) -> None:
        """Note mistakes in the labels that would make scores worthless; raises EvaluationError."""
        if self.reference is not None:
            return
        model = self.model.spec().class_map
        for source in sources:
            if source.labelled and len(source):
                notes = survey(source, model, self.sources)
                if source.class_map:
                    notes = [*truth_notes(load_class_map(source.class_map), model), *notes]
                source.notes = (*source.notes, *notes)

    def mask_folder(self) -> Optional[Predictions]:
        """The folder that masks are written to; None for none."""
        if not self.predictions:
            return None
        return Predictions(Path(self.predictions), self.model.spec().class_map)

    @property
    def choices(self) -> Tuple[ModelChoice, ...]:
        """The model, and the reference where there is one."""
        return (self.model, self.reference) if self.reference else (self.model,)

    @property
    def wanted(self) -> Wanted:
        """What is wanted of the engine."""
        return Wanted(confidence=True, upsampling=self.upsampling)

    def fingerprint(self, sources: Sequence[Source]) -> str:
        """Hash of everything that the numbers depend on, as far as that is quick to get.

        That is the settings, the models' specs, versions, and the sizes and modification times of
        all files: recordings are too long to read them for a hash of their content. It is the key
        of an interrupted run's checkpoints.

        sources: the job's recordings, as `open_sources` gives them.
        """
        digest = hashlib.sha256(repr((self._settings(), versions())).encode())
        for choice in self.choices:
            digest.update(repr(choice.spec()).encode())
        for path in self._files(sources):
            status = path.stat()
            digest.update(os.fsencode(path))  # a name need not be UTF-8
            digest.update(f':{status.st_size}:{status.st_mtime_ns}\n'.encode())
        return digest.hexdigest()[:16]

    def _settings(self) -> Dict[str, Any]:
        """All fields except threads and streams, which depend on the number of workers."""
        settings = asdict(self)
        for choice in (settings['model'], settings['reference']):
            if choice:
                del choice['options']['threads'], choice['options']['streams']
        return settings

    def _files(self, sources: Sequence[Source]) -> List[Path]:
        files = [path for source in sources for path in source.files]
        files += [path for choice in self.choices for path in choice.files()]
        files += [self.sources.camera_info] if self.sources.camera_info else []
        return [path for path in files if path.is_file()]


def describe(choice: ModelChoice, upsampling: str) -> Dict[str, str]:
    """What identifies a model and its engine's arithmetic, for metrics.json."""
    spec = choice.spec()
    facts = {
        'model': spec.path.name,
        'contract': spec.contract,
        'input': spec.size_in_words,
        'fit': spec.fit,
        'engine': create_engine(spec, choice.engine, choice.options).name,
        'precision': choice.options.precision,
        'inference': choice.options.inference,
        'upsampling': upsampling,
    }
    if choice.options.inference == 'slide':
        facts['slide_stride'] = str(choice.options.slide_stride or 'default')
    if spec.path.is_file():
        int8 = choice.options.precision == 'int8' and spec.path.suffix == ONNX_SUFFIX
        facts['sha256'] = model_hash(require_quantized(spec.path) if int8 else spec.path)
    return facts
