"""Readers of data sets that are more than a folder of pictures: Hadoop sequence files, PASCAL VOC, COCO."""

from __future__ import annotations

from featurelib.image.readers.coco import read_coco
from featurelib.image.readers.sequence import imagenet_record, sequence_records
from featurelib.image.readers.voc import VOC_CLASSES, read_voc

__all__ = ["VOC_CLASSES", "imagenet_record", "read_coco", "read_voc", "sequence_records"]
