#!/usr/bin/env bash
# From nothing to an adapted network: sets itself up, compares three ways to use 100 labels, then tests and predicts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
echo "1/4 setting up"
bash scripts/setup.sh quickstart
echo "2/4 adapting ImageNet EfficientNet-Lite0 to handwritten digits, 10 labels a class: three ways, three seeds"
ckpt=runs/demo/best.ckpt
.venv/bin/python scripts/bench/few_labels.py --out runs/demo
echo "3/4 testing the fine-tuned network of the first seed: lightning-transfer test --ckpt_path $ckpt"
.venv/bin/lightning-transfer test --ckpt_path $ckpt --trainer.enable_progress_bar false 2>/dev/null
echo "4/4 predicting the test images: lightning-transfer predict --ckpt_path $ckpt --predictions.path runs/demo/predictions.csv"
.venv/bin/lightning-transfer predict --ckpt_path $ckpt --predictions.path runs/demo/predictions.csv --trainer.enable_progress_bar false 2>/dev/null
head -n 4 runs/demo/predictions.csv
echo "all of it is in runs/demo: table.csv, predictions.csv, best.ckpt, and a folder for each run"
