"""The published SegFormer family with random weights: its speed without its licensed weights."""

from tools.family.catalogue import FAMILY, FamilyError, FamilyModel, family_model

__all__ = ['FAMILY', 'FamilyError', 'FamilyModel', 'family_model']
