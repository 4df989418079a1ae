"""States what the authors' own code makes of weights by the rule: writes `authors.json`.

Their code is not part of this course. In an environment with TensorFlow and tf_keras, with a copy of the folder
`models/official/efficientnet` of github.com/tensorflow/tpu (commit 7dc921f8): `python state_authors.py FOLDER`
"""

import json
import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
sys.path.insert(0, sys.argv[1])

import efficientnet_builder
import rule
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
CASES = [("efficientnet-b0", "B0", "noisy-student", 224), ("efficientnet-b2", "B2", "advprop", 260)]

stated = {"tensorflow": tf.__version__, "keys": {}, "cases": []}
for model_name, variant, recipe, size in CASES:
    with tf.Graph().as_default(), tf.Session() as session:
        pixels = tf.constant(rule.pixels(size), tf.float32)
        if recipe == "advprop":
            pixels = pixels * 2.0 / 255 - 1.0  # as in eval_ckpt_main.py
        else:
            pixels = (pixels - efficientnet_builder.MEAN_RGB) / efficientnet_builder.STDDEV_RGB
        logits, endpoints = efficientnet_builder.build_model(pixels, model_name, training=False)
        weights = {variable.op.name: variable for variable in tf.global_variables()}
        for name, variable in weights.items():
            variable.load(rule.weight(name, variable.shape.as_list()), session)
        features, probabilities = session.run([endpoints["head_1x1"], tf.nn.softmax(logits)])
    print(model_name, features.std(), probabilities.min(), probabilities.max())
    stated["keys"][variant] = {name: "x".join(map(str, v.shape.as_list())) for name, v in weights.items()}
    answers = rule.answers(features, probabilities)
    stated["cases"].append({"model": model_name, "variant": variant, "recipe": recipe, "size": size, **answers})
text = json.dumps(stated, separators=(",", ":")).replace('"model":', '\n"model":')
Path(__file__).with_name("authors.json").write_text(text + "\n", encoding="ascii")
