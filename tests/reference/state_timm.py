"""States what timm makes of weights by the rule: writes `timm.json`.

Run in an environment of its own; neither timm nor PyTorch is needed to test:
`pip install torch safetensors huggingface_hub pyyaml && pip install --no-deps timm && python state_timm.py`
"""

import json
import sys
from pathlib import Path
from unittest import mock

# timm reads data with torchvision, which is not needed here.
PARTS = ("", ".datasets", ".models.feature_extraction", ".ops.misc", ".transforms", ".transforms.functional", ".utils")
for part in PARTS:
    sys.modules["torchvision" + part] = mock.MagicMock(__path__=[], __spec__=mock.MagicMock())

import rule  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402

DEFAULT = (timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD)
INCEPTION = (timm.data.IMAGENET_INCEPTION_MEAN, timm.data.IMAGENET_INCEPTION_STD)
CASES = [
    ("tf_efficientnet_b0", "B0", "noisy-student", 224, DEFAULT),
    ("efficientnet_b0", "B0", "ra4", 224, INCEPTION),
    ("tf_efficientnet_b3", "B3", "advprop", 300, INCEPTION),
    ("efficientnet_b3", "B3", "ra4", 300, INCEPTION),
]

stated = {"timm": timm.__version__, "torch": torch.__version__, "keys": {}, "cases": []}
for model_name, variant, recipe, size, (mean, std) in CASES:
    model = timm.create_model(model_name, pretrained=False).eval()
    filled = {
        key: torch.from_numpy(rule.weight(key, tuple(tensor.shape))) if tensor.is_floating_point() else tensor
        for key, tensor in model.state_dict().items()
    }
    model.load_state_dict(filled)
    pixels = torch.from_numpy(rule.pixels(size) / 255).permute(0, 3, 1, 2)
    pixels = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    with torch.no_grad():
        features = model.forward_features(pixels.float())
        probabilities = model.forward_head(features).softmax(-1)
    print(model_name, float(features.std()), float(probabilities.max()), float(probabilities.min()))
    stated["keys"][variant] = {key: "x".join(map(str, tensor.shape)) for key, tensor in filled.items()}
    answers = rule.answers(features.permute(0, 2, 3, 1).contiguous().numpy(), probabilities.numpy())
    stated["cases"].append({"model": model_name, "variant": variant, "recipe": recipe, "size": size, **answers})
text = json.dumps(stated, indent=None, separators=(",", ":")).replace('"model":', '\n"model":')
Path(__file__).with_name("timm.json").write_text(text + "\n", encoding="ascii")
