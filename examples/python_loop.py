"""An explained IR in an OpenVINO loop that was there before: the last three lines are what is new.

    ovxai insert model.xml                          # once, writes model_xai.xml
    python examples/python_loop.py model_xai.xml PICTURE...

ovxai is not imported: the maps are one more output of the model.
"""

import sys

import cv2
import numpy as np
import openvino as ov

MEAN, SCALE = 127.0, 128.0  # of the shipped EfficientNet-Lite0

if len(sys.argv) < 3:
    sys.exit("usage: python_loop.py MODEL_xai.xml PICTURE...")
compiled = ov.Core().compile_model(sys.argv[1], "CPU")
for path in sys.argv[2:]:
    picture = cv2.imread(path)
    if picture is None:
        sys.exit(f"{path}: can't be read")
    tensor = (cv2.resize(picture, (224, 224))[:, :, ::-1].transpose(2, 0, 1)[None] - MEAN) / SCALE
    result = compiled(tensor.astype(np.float32))
    best = int(result[0].argmax())
    print(path, best)
    heat = cv2.resize(result["saliency_map"][0, best], picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    overlay = cv2.addWeighted(picture, 0.5, cv2.applyColorMap(heat, cv2.COLORMAP_JET), 0.5, 0)
    cv2.imwrite(f"{path}.xai.jpg", overlay)
