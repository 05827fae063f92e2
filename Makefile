PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python -m monai.bundle run
CONFIGS := bundles/ct_drsegunet/configs
# Small enough for two cores and five minutes; the paper's settings are those of train.yaml.
DEMO := --size "[128,128]" --fold 1 --epochs 16 --learning_rate 1e-3 --amp True --ckpt_dir demo/models --output_dir demo/training

.PHONY: venv demo test lint pictures

venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt ".[dev]"
	touch $@

demo: venv
	$(RUN) training --config_file $(CONFIGS)/train.yaml $(DEMO)
	$(RUN) evaluating --config_file "['$(CONFIGS)/train.yaml','$(CONFIGS)/evaluate.yaml']" $(DEMO)
	$(RUN) --config_file $(CONFIGS)/inference.yaml --size "[128,128]" --weights demo/models/model.pt --output_dir demo/inference
	@echo; echo "Lesion burden of the unseen volume: demo/inference/lesions.csv"; cat demo/inference/lesions.csv
	@echo; echo "Pictures:"; ls demo/training/*.png demo/inference/*.png

test: venv
	$(BIN)/python -m pytest

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

pictures: demo
	$(BIN)/python -m common.phantoms --output docs/phantoms.png
	cp demo/inference/1_overlay.png docs/overlay.png
