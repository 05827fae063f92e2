PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python -m monai.bundle run
CONFIGS := bundles/ct_drsegunet/configs
SEGMENT := bundles/us_dense_seg/configs
DIAGNOSE := bundles/us_reverse_transfer/configs
TRANSFER := bundles/ct_transfer_unet/configs
ENCODERS := bundles/mosmed_encoders/configs
WEAK := bundles/ct_weak_gan/configs
# Small enough for two cores and five minutes; the paper's settings are those of train.yaml.
DEMO := --size "[128,128]" --fold 1 --epochs 16 --learning_rate 1e-3 --batch_size 4 --amp True --ckpt_dir demo/models --output_dir demo/training

ULTRASOUND := --size "[96,128]" --filters 16 --amp True
DEMO_SEGMENT := $(ULTRASOUND) --epochs 6 --ckpt_dir demo/ultrasound/models --output_dir demo/ultrasound/segmentation
DEMO_DIAGNOSE := $(ULTRASOUND) --ckpt_dir demo/ultrasound/diagnosis --output_dir demo/ultrasound/diagnosis

SMALL := --size "[96,96]" --filters 8
DEMO_TRANSFER := $(SMALL) --amp True --objective dice_bce --learning_rate 3e-3 --batch_size 15 --epochs 20
TO_SECOND := --pretrained demo/transfer/source/model.pt --training_slices 100 --ckpt_dir demo/transfer/retrained --output_dir demo/transfer/retrained

ENCODER := --encoder mobilenetv2 --size "[96,96]"
DEMO_ENCODERS := $(ENCODER) --encoder_weights none --learning_rate 1e-3 --epochs 10 --ckpt_dir demo/encoders --output_dir demo/encoders

SLICE_LABELS := --size "[64,64]" --filters 16
DEMO_WEAK := $(SLICE_LABELS) --adversarial 0.2 --learning_rate 1e-3 --epochs 15 --ckpt_dir demo/weak --output_dir demo/weak

LABEL := build/monailabel
DEPLOY := build/monaideploy
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# Tests on real data run where REAL_DATA names their folder; the others need none.
ifndef REAL_DATA
ifneq ($(wildcard ../shared/data),)
test coverage: export REAL_DATA := $(abspath ../shared/data)
endif
endif

.DEFAULT_GOAL := help
.PHONY: help venv demo demo-ultrasound demo-transfer demo-encoders demo-weak test test-pacs test-monailabel test-monaideploy coverage lint docs gpu fuzz container-check
.PHONY: pictures pictures-measured

help: ## List these targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: .venv/installed ## Install everything into .venv, in the versions of constraints.txt

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt ".[dev]"
	touch $@

demo: venv ## ct_drsegunet: segment a scan with the shipped weights, then train, evaluate, segment (5 minutes)
	$(RUN) --config_file $(CONFIGS)/inference.yaml --output_dir demo/shipped
	@echo; echo "Segmented with the weights that come with the bundle: demo/shipped/1_overlay.png"; echo
	$(RUN) training --config_file $(CONFIGS)/train.yaml $(DEMO)
	$(RUN) evaluating --config_file "['$(CONFIGS)/train.yaml','$(CONFIGS)/evaluate.yaml']" --amp True --ckpt_dir demo/models --output_dir demo/training
	$(RUN) --config_file $(CONFIGS)/inference.yaml --weights demo/models/model.pt --output_dir demo/inference
	@echo; echo "Lesion burden of the unseen volume: demo/inference/lesions.csv"; cat demo/inference/lesions.csv
	@echo; echo "Pictures:"; ls demo/training/*.png demo/inference/*.png

demo-ultrasound: venv ## The same for us_dense_seg and us_reverse_transfer (3 minutes)
	$(RUN) training --config_file $(SEGMENT)/train.yaml $(DEMO_SEGMENT)
	$(RUN) evaluating --config_file "['$(SEGMENT)/train.yaml','$(SEGMENT)/evaluate.yaml']" --amp True --ckpt_dir demo/ultrasound/models --output_dir demo/ultrasound/segmentation
	$(RUN) training --config_file "['$(DIAGNOSE)/train.yaml','$(DIAGNOSE)/tuned.yaml']" $(DEMO_DIAGNOSE) --pretrained demo/ultrasound/models/model.pt
	$(RUN) evaluating --config_file "['$(DIAGNOSE)/train.yaml','$(DIAGNOSE)/evaluate.yaml']" --amp True --ckpt_dir demo/ultrasound/diagnosis --output_dir demo/ultrasound/diagnosis
	$(RUN) --config_file $(SEGMENT)/inference.yaml --weights demo/ultrasound/models/model.pt --output_dir demo/ultrasound/segmented
	$(RUN) --config_file $(DIAGNOSE)/inference.yaml --weights demo/ultrasound/diagnosis/model.pt --output_dir demo/ultrasound/diagnosed
	@echo; echo "Diagnoses of unseen patients: demo/ultrasound/diagnosed/cases.csv"; cut -d, -f1-6 demo/ultrasound/diagnosed/cases.csv
	@echo; echo "Pictures:"; find demo/ultrasound -name '*.png' -not -path '*_masks*'

demo-transfer: venv ## The same for ct_transfer_unet, with a second scanner and an audit (3 minutes)
	$(RUN) training --config_file $(TRANSFER)/train.yaml $(DEMO_TRANSFER) --ckpt_dir demo/transfer/source --output_dir demo/transfer/source
	$(RUN) evaluating --config_file "['$(TRANSFER)/train.yaml','$(TRANSFER)/evaluate.yaml']" --amp True --ckpt_dir demo/transfer/source --output_dir demo/transfer/source
	$(RUN) evaluating --config_file "['$(TRANSFER)/train.yaml','$(TRANSFER)/evaluate.yaml']" --amp True --target phantom_second_scanner --ckpt_dir demo/transfer/source --output_dir demo/transfer/not_retrained
	$(RUN) training --config_file "['$(TRANSFER)/train.yaml','$(TRANSFER)/retrain.yaml']" $(DEMO_TRANSFER) $(TO_SECOND)
	$(RUN) evaluating --config_file "['$(TRANSFER)/train.yaml','$(TRANSFER)/retrain.yaml','$(TRANSFER)/evaluate.yaml']" --amp True --ckpt_dir demo/transfer/retrained --output_dir demo/transfer/retrained
	$(RUN) --config_file $(TRANSFER)/inference.yaml --view True --weights demo/transfer/source/model.pt --output_dir demo/transfer/inference
	$(RUN) auditing --config_file "['$(TRANSFER)/inference.yaml','$(TRANSFER)/audit.yaml']" --weights demo/transfer/source/model.pt --output_dir demo/transfer/audit
	@echo; echo "Second scanner without re-training, and with:"; head -2 demo/transfer/not_retrained/scores.csv; sed -n 2p demo/transfer/retrained/scores.csv
	@echo; echo "Pictures:"; find demo/transfer -name '*.png'

demo-encoders: venv ## The same for mosmed_encoders (3 minutes)
	$(RUN) training --config_file $(ENCODERS)/train.yaml $(DEMO_ENCODERS)
	$(RUN) evaluating --config_file "['$(ENCODERS)/train.yaml','$(ENCODERS)/evaluate.yaml']" --ckpt_dir demo/encoders --output_dir demo/encoders
	$(RUN) --config_file $(ENCODERS)/inference.yaml --dataset_dir phantom_studies --weights demo/encoders/model.pt --output_dir demo/encoders/inference
	@echo; echo "Studies by the severity of their folder, down, and as measured, across:"; cat demo/encoders/inference/severity.csv
	@echo; echo "Pictures:"; find demo/encoders -name '*.png'

demo-weak: venv ## The same for ct_weak_gan (2 minutes)
	$(RUN) training --config_file $(WEAK)/train.yaml $(DEMO_WEAK)
	$(RUN) evaluating --config_file "['$(WEAK)/train.yaml','$(WEAK)/evaluate.yaml']" --ckpt_dir demo/weak --output_dir demo/weak
	$(RUN) --config_file $(WEAK)/inference.yaml --weights demo/weak/model.pt --output_dir demo/weak/inference
	@echo; echo "Pictures:"; find demo/weak -name '*.png'

test: venv ## Run all tests but those of MONAI Label and MONAI Deploy
	$(PYTEST)

test-pacs: venv ## The way from a PACS and back, with Orthanc on this computer (Debian: orthanc orthanc-dicomweb)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/pacs tests/report/dicom

test-monailabel: venv $(LABEL)/installed ## Serve the packaged bundles with MONAI Label, in an environment of its own
	OMP_NUM_THREADS=1 PYTHONPATH=. $(BIN)/python tests/small_packages.py $(LABEL)/packages
	OMP_NUM_THREADS=1 $(LABEL)/venv/bin/python -m pytest -c tests/monailabel/pytest.ini --packages $(LABEL)/packages tests/monailabel

# torch and torchvision first: what is built from source asks for them, and without a pinned torch that means gigabytes
$(LABEL)/installed: export PIP_CONSTRAINT = $(CURDIR)/tests/monailabel/constraints.txt
$(LABEL)/installed: tests/monailabel/constraints.txt
	$(PYTHON) -m venv $(LABEL)/venv
	$(LABEL)/venv/bin/python -m pip install --quiet torch numpy
	$(LABEL)/venv/bin/python -m pip install --quiet torchvision
	$(LABEL)/venv/bin/python -m pip install --quiet monailabel av fire highdicom itk matplotlib python-gdcm scikit-image tensorboard pytest pytest-timeout
	touch $@

test-monaideploy: venv $(DEPLOY)/installed ## Run the packaged bundles in MONAI Deploy's operators, in an environment of its own
	OMP_NUM_THREADS=1 PYTHONPATH=. $(BIN)/python tests/small_packages.py $(DEPLOY)/packages
	OMP_NUM_THREADS=1 $(DEPLOY)/venv/bin/python -m pytest -c tests/monaideploy/pytest.ini --packages $(DEPLOY)/packages tests/monaideploy

$(DEPLOY)/installed: constraints.txt pyproject.toml tests/monaideploy/requirements.txt
	$(PYTHON) -m venv $(DEPLOY)/venv
	$(DEPLOY)/venv/bin/python -m pip install --quiet --constraint constraints.txt .
	$(DEPLOY)/venv/bin/python -m pip install --quiet --requirement tests/monaideploy/requirements.txt pytest pytest-timeout
	touch $@

coverage: venv ## Run all tests and write which lines they reach to build/coverage/index.html
	mkdir -p build/coverage
	$(PYTEST) --cov=common --cov-report=term --cov-report=html:build/coverage

lint: venv ## Check style, formatting, types, the imports between packages, and the links of the docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@$(MAKE) --no-print-directory docs

docs: export NO_MKDOCS_2_WARNING = 1
docs: venv ## Build the documentation site into build/site; warnings are errors
	OMP_NUM_THREADS=1 $(BIN)/mkdocs build --strict

fuzz: venv ## Read 1,000 damaged files of each format beside healthy ones (3 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --count 1000

container-check: venv ## Build the container's image without Docker and try it; as root on Debian, with debootstrap (10 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python tests/container/check.py $(BUILD_ARGS)

gpu: ## Measure training and inference on this machine's GPU (8 minutes); without one, a small trial on the CPU
	$(or $(wildcard $(BIN)/python),$(PYTHON)) benchmarks/gpu.py

pictures: demo demo-ultrasound demo-transfer demo-encoders demo-weak ## Run all demos and draw the pictures in docs again
	$(BIN)/python -m common.phantoms --output docs/phantoms.png
	$(BIN)/python -m common.phantoms --kind ultrasound --output docs/ultrasound_phantoms.png
	PYTHONPATH=. $(BIN)/python tests/report_page.py demo/report
	chromium --headless --no-sandbox --hide-scrollbars --window-size=1280,1060 --screenshot=docs/report.png file://$(CURDIR)/demo/report/report.html
	cp demo/inference/1_overlay.png docs/overlay.png
	cp demo/ultrasound/segmentation/evaluation.png docs/ultrasound.png
	cp demo/transfer/inference/1_view.png docs/view.png
	cp demo/transfer/audit/audit.png docs/audit.png
	cp demo/encoders/inference/severity.png docs/severity.png
	cp demo/weak/evaluation.png docs/separation.png

LEVELS := demo/levels
pictures-measured: venv ## Draw the pictures of measured results in the bundles' docs again (3 hours)
	$(BIN)/python -m common.reproduce mosmed_encoders --encoder_weights none --size "[64,64]" --learning_rate 3e-4 --epochs 15 --jobs 2 --only "*/seed[01]"
	$(BIN)/python -m common.reproduce ct_weak_gan $(SLICE_LABELS) --learning_rate 1e-3 --epochs 15 --adversarial 0.2 --map_size 25 --jobs 2 --only "*/seed0"
	$(BIN)/python -c "from common.phantoms.ct.layouts import write_mosmed; write_mosmed('$(LEVELS)/phantoms', patients=94, size=(128, 128), slices=24, seed=2141)"
	$(RUN) self_learning --config_file $(CONFIGS)/selflearn.yaml --dataset_dir $(LEVELS)/phantoms/studies --lesion_masks $(LEVELS)/phantoms/masks --size "[128,128]" --line_length 3 --disk_radius 2 --ckpt_dir $(LEVELS) --output_dir $(LEVELS)
	cp reproduced/mosmed_encoders/figure_10_1.png docs/encoders.png
	cp reproduced/ct_weak_gan/precision_recall.png docs/precision_recall.png
	cp $(LEVELS)/self_learning.png docs/self_learning.png
