# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What a data set's labels mean in terms of the network's 19 Cityscapes classes.

A data set may label more coarsely than the network: CamVid's "Car" also covers lorries and
buses, its "Building" covers walls. A `Taxonomy` says, for each label, which network classes it
may stand for and how readily, so that the loss need not teach the finer classes wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass

IGNORE_ID = 255
CLASS_COUNT = 19
COARSE = 32  # label i of a folder of coarse labels is COARSE + i in the taxonomy

# (train id of a network class, probability that an annotator gives that class this label)
Members = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Taxonomy:
    """A set of labels, each standing for one or more network classes.

    Attributes:
        name: what the recipe calls it.
        labels: per label, the value in the label image (the canonical train id).
        members: per label, the network classes it may stand for, the canonical one first.
    """

    name: str
    labels: tuple[int, ...]
    members: tuple[Members, ...]

    @property
    def is_exact(self) -> bool:
        """True where every label is exactly the network class of the same id."""
        return self.labels == tuple(range(CLASS_COUNT)) and all(len(m) == 1 for m in self.members)

    @property
    def disjoint(self) -> list[int]:
        """Indices of the labels that share no class with each other: all but coarse ones."""
        return [i for i, label in enumerate(self.labels) if label < COARSE]


def _exact(name: str) -> Taxonomy:
    ids = tuple(range(CLASS_COUNT))
    return Taxonomy(name, ids, tuple(((i, 1.0),) for i in ids))


def _coarse(name: str, members: tuple[Members, ...]) -> Taxonomy:
    return Taxonomy(name, tuple(group[0][0] for group in members), members)


def _doubted(name: str, alternatives: dict[int, tuple[int, ...]], weight: float) -> Taxonomy:
    """The exact labels, some of which may stand for other classes too, with that weight each."""
    members = tuple(
        ((i, 1.0), *((other, weight) for other in alternatives.get(i, ())))
        for i in range(CLASS_COUNT)
    )
    return Taxonomy(name, tuple(range(CLASS_COUNT)), members)


def _grouped(
    name: str, groups: tuple[tuple[int, ...], ...], strays: dict[int, tuple[int, ...]]
) -> Taxonomy:
    """The exact labels, and coarse ones for groups of classes that are as likely each.

    A group's `strays` are half as likely, and belong to another group.
    """
    exact = _exact(name)
    labels = tuple(COARSE + i for i in range(len(groups)))
    members = tuple(
        (*((i, 1.0) for i in group), *((i, 0.5) for i in strays.get(number, ())))
        for number, group in enumerate(groups)
    )
    return Taxonomy(name, exact.labels + labels, exact.members + members)


# IDD-Lite's groups, for what finer labels leave open.
_IDD = (
    (0,),  # drivable
    (1, 9),  # not drivable: sidewalk, bare or green ground
    (11, 12),  # living things
    (13, 14, 15, 16, 17, 18),  # vehicles, autorickshaws too
    (3, 4, 5, 6, 7),  # along the road: walls, fences, poles, signs, lights; kerbs too
    (2, 8),  # far: buildings, vegetation
    (10,),  # sky
)

TAXONOMIES: dict[str, Taxonomy] = {
    taxonomy.name: taxonomy
    for taxonomy in (
        _exact('cityscapes'),
        # The eleven classes of the SegNet split, by what its authors folded into each. The
        # alternatives weigh less than one, so where a picture cannot tell, the label's own
        # class wins.
        _coarse(
            'camvid',
            (
                ((0, 1.0),),  # road and lane markings
                ((1, 1.0),),  # sidewalk
                ((2, 1.0), (3, 0.4)),  # building: also walls
                ((4, 1.0),),  # fence
                ((5, 1.0),),  # pole
                ((7, 1.0), (6, 0.6)),  # sign: also traffic lights
                ((8, 1.0), (9, 0.4)),  # tree: also other vegetation
                ((10, 1.0),),  # sky
                ((11, 1.0),),  # pedestrian
                ((12, 1.0), (18, 1.0), (17, 0.4)),  # cyclist: rider and cycle in one
                ((13, 1.0), (14, 0.4), (15, 0.4), (16, 0.2)),  # car: also lorry, bus, train
            ),
        ),
        # Polygons of large things, drawn without what stands before them.
        _doubted(
            'facades',
            {
                0: (5, 11, 12, 17, 18),  # road
                1: (4, 5, 11, 17, 18),  # sidewalk
                2: (3, 4, 5, 6, 7, 8, 11, 12, 17, 18),  # building
                8: (4, 5, 6, 7, 9, 11),  # vegetation
                10: (5, 6, 7),  # sky
            },
            0.3,
        ),
        _grouped('idd', _IDD, {}),
        _grouped('idd_kerbs', _IDD, {4: (1, 9)}),  # kerbs are drawn as wide as the verge behind
    )
}


def taxonomy(name: str) -> Taxonomy:
    """The taxonomy of that name; ValueError lists the known ones."""
    if name not in TAXONOMIES:
        raise ValueError(f'unknown taxonomy {name!r}: choose one of {", ".join(TAXONOMIES)}')
    return TAXONOMIES[name]
